package lab

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Packets that no SIP server can read, each wrong in another way.
var malformed = [][]byte{
	[]byte("INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP\r\nContent-Length: -1\r\n\r\n"),
	[]byte("OPTIONS  SIP/2.0\r\n\r\n"),
	[]byte("SIP/2.0 99999 ?\r\nVia: ;;;branch=\r\n\r\n"),
	[]byte("REGISTER sip:x SIP/2.0\r\nCSeq: 99999999999999 REGISTER\r\nCall-ID\r\n: \xff\xfe\r\n\r\n"),
	[]byte("\x16\x03\x01\x00\xff\x00\x00"),
}

// flood sends floodRate packets a second from the client's host to the service address: the malformed ones, cut and with octets changed.
func (l *Lab) flood(span time.Duration) error {
	conn, err := l.listen(client, netip.AddrPortFrom(Addr(client, SIP), 0))
	if err != nil {
		return err
	}
	defer conn.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(ServiceAddress, Port))
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same packets each time
	start, sent := Now(), 0
	for next := start; next < start+span; next += loadTick {
		sleepUntil(next)
		for want := int((Now() - start).Seconds() * floodRate); sent < want; sent++ {
			b := append([]byte(nil), malformed[rng.IntN(len(malformed))]...)
			b[rng.IntN(len(b))] = byte(rng.Uint32())
			_, _ = conn.WriteToUDP(b[:1+rng.IntN(len(b))], to) // what is lost was sent
		}
	}
	return nil
}
