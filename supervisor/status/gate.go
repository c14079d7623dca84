package status

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// gate is a listener that lets at most all connections in at a time, and at most each from one address. The next one is closed at once:
// a monitor that probes wants a quick no, and who waits in line would keep others out.
type gate struct {
	net.Listener
	all, each int
	refused   func()

	mu   sync.Mutex
	open int
	from map[netip.Addr]int
}

// refusalPause is how long the next connection waits after one was refused, so that a flood of them does not cost a processor.
const refusalPause = time.Millisecond

func newGate(l net.Listener, all, each int, refused func()) *gate {
	return &gate{Listener: l, all: all, each: each, refused: refused, from: map[netip.Addr]int{}}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := addrOf(conn.RemoteAddr())
		if g.enter(addr) {
			return &limitedConn{Conn: conn, free: sync.OnceFunc(func() { g.leave(addr) })}, nil
		}
		_ = conn.Close()
		g.refused()
		time.Sleep(refusalPause)
	}
}

func (g *gate) enter(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.all || g.from[addr] >= g.each {
		return false
	}
	g.open++
	g.from[addr]++
	return true
}

func (g *gate) leave(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.from[addr]--; g.from[addr] == 0 {
		delete(g.from, addr)
	}
}

// addrOf is the address of a client; of all that have none, such as those of a unix socket, the zero Addr.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(tcp.IP)
		return addr.Unmap()
	}
	return netip.Addr{}
}
