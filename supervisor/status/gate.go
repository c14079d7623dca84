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
		g.refused() // before the client can know
		_ = conn.Close()
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

// addrOf is by what a client is known: its address, or its IPv6 network (/64), as a host there has as many addresses as it likes. Those
// without, such as the clients of a unix socket, are one.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	if addr = addr.Unmap(); addr.Is6() {
		network, _ := addr.Prefix(64) // an IPv6 address has one
		return network.Addr()
	}
	return addr
}
