package traffic

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/traffic/sip"
)

// hep3 makes a packet of HEP version 3.
func hep3(proto uint8, src, dst string, payload string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := []byte("HEP3\x00\x00")
	chunk := func(kind uint16, value ...byte) {
		b = binary.BigEndian.AppendUint16(b, 0)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, uint16(6+len(value)))
		b = append(b, value...)
	}
	chunk(1, 2)
	chunk(2, proto)
	chunk(3, s.Addr().AsSlice()...)
	chunk(4, d.Addr().AsSlice()...)
	chunk(7, byte(s.Port()>>8), byte(s.Port()))
	chunk(8, byte(d.Port()>>8), byte(d.Port()))
	chunk(11, 1)
	chunk(15, []byte(payload)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// HEP shows what interfaces can't, and is not counted where they can.
func TestMonitor_HEP(t *testing.T) {
	newFar(t)
	for name, alone := range map[string]bool{"alone": true, "beside interfaces": false} {
		t.Run(name, func(t *testing.T) {
			o := standard()
			o.HEP = netip.MustParseAddrPort("127.0.0.1:9060")
			if alone {
				o.Interfaces = nil
			}
			seen := make(chan Meta, 64)
			o.OnMessage = func(_ *sip.Message, meta Meta) { seen <- meta }
			m := run(t, o)
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(o.HEP))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, p := range [][]byte{
				hep3(17, "10.77.0.2:5060", "10.77.0.1:5060", request("INVITE", "udp", 1)),
				hep3(17, "10.77.0.1:5060", "10.77.0.2:5060", response(200, "INVITE", "udp", 1)),
				hep3(22, "10.77.0.2:40000", "10.77.0.1:5061", request("INVITE", "tls", 1)),
				hep3(22, "10.77.0.1:5061", "10.77.0.2:40000", response(200, "INVITE", "tls", 1)),
				hep3(17, "10.77.0.1:5060", "10.77.0.1:5060", request("OPTIONS", "own", 1)),
				hep3(17, "127.0.0.1:40000", "127.0.0.1:5070", request("OPTIONS", "own2", 1)),
				hep3(17, "10.77.0.8:5060", "10.77.0.9:5060", request("INVITE", "strangers", 1)),
				[]byte("HEP3 garbage"),
				hep3(22, "10.77.0.2:40000", "10.77.0.1:5061", request("BYE", "tls", 2)),
			} {
				if _, err := conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			s := await(t, m, "the last message", func(s Stats) bool { return s.In.Requests[2] == 1 })
			wantIn, wantOut, wantLocal := uint64(3), uint64(2), uint64(2)
			if !alone {
				wantIn, wantOut, wantLocal = 2, 1, 1
			}
			if s.In.Total() != wantIn || s.Out.Total() != wantOut || s.Local != wantLocal || s.ParseErrors != 1 {
				t.Errorf("got %d in, %d out, %d local, %d errors, want %d, %d, %d and 1",
					s.In.Total(), s.Out.Total(), s.Local, s.ParseErrors, wantIn, wantOut, wantLocal)
			}
			if s.LastIn == 0 || s.InvitesAnswered != wantOut {
				t.Errorf("got last in at %v, %d INVITEs answered, want %d", s.LastIn, s.InvitesAnswered, wantOut)
			}
			last := Meta{}
			for len(seen) > 0 {
				last = <-seen
			}
			if last.Transport != TLS || last.From.Port() != 40000 || last.Transport.String() != "TLS" {
				t.Errorf("last message: got %+v", last)
			}
		})
	}
}

// A flood of HEP beyond the socket's buffer is counted as lost, and the address is free again afterwards.
func TestHEP_losses(t *testing.T) {
	lost := uint64(0)
	l := &hepListener{addr: netip.MustParseAddrPort("127.0.0.1:9061"), lost: func(n uint64) { lost += n }, bad: func() {}}
	for range 2 {
		p := newPoller(t)
		if err := l.open(p, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("udp", l.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 60_000)
		for range 3 * hepBuffer / len(b) {
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
		lost, l.looked = 0, -time.Hour
		if err := l.read(); err != nil {
			t.Fatal(err)
		}
		if lost == 0 {
			t.Error("nothing was lost of three times the buffer")
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}
