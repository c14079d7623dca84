package status

import (
	"net"
	"sync"
)

// limited accepts at most cap(slots) connections at a time; the next client waits. A waiting Accept ends when a connection closes,
// so whoever closes the listener must close the connections too.
type limited struct {
	net.Listener
	slots chan struct{}
}

func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n)}
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// NetConn is the connection itself, for its credentials.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }
