package registrar

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// A phone whose server has gone without a word learns it from the tickle at once, and from nothing else.
func TestTickle(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			phone, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer phone.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			vanish(t, server.(*net.TCPConn))

			ended := make(chan error, 1)
			go func() {
				_, err := phone.Read(make([]byte, 1))
				ended <- err
			}()
			select {
			case err := <-ended:
				t.Fatalf("without the tickle: got %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			at := func(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }
			sent, err := Tickle(t.Context(), []location.Flow{{Server: at(l.Addr()), Phone: at(phone.LocalAddr())}})
			if err != nil || sent != 1 {
				t.Fatalf("sent %d: %v", sent, err)
			}
			select {
			case err := <-ended:
				if !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("got %v, want a reset", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the phone does not notice")
			}
		})
	}
}

// vanish ends a connection as the end of its host does: nobody is told (TCP_REPAIR).
func vanish(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	}), err)
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTickle_families(t *testing.T) {
	flow := location.Flow{Server: netip.MustParseAddrPort("127.0.0.1:5060"), Phone: netip.MustParseAddrPort("[::1]:5060")}
	if sent, err := Tickle(t.Context(), []location.Flow{flow}); sent != 0 || !errors.Is(err, errFamilies) {
		t.Errorf("sent %d: %v", sent, err)
	}
}
