package registrar

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// tickleRate is how many connections a second are tickled: what follows is as many phones that connect and register again.
const tickleRate = 2000

// Tickle makes phones notice that their connections have died with the server that accepted them. Each gets an acknowledgement from the
// address that it is connected to, with a number that can't be right. The phone's own stack answers with the right ones (RFC 9293, 3.10.7.4),
// this host knows of no such connection and resets it, and the phone connects again: now, and not when it has something to send. CTDB does
// the same for file servers. It gives how many were sent.
//
// It needs CAP_NET_RAW, and the addresses must be this host's by now.
func Tickle(ctx context.Context, flows []location.Flow) (sent int, err error) {
	var s spoofer
	defer s.Close()
	pause := time.NewTicker(time.Second / 100)
	defer pause.Stop()
	var errs []error
	for i, f := range flows {
		if i%(tickleRate/100) == tickleRate/100-1 {
			select {
			case <-ctx.Done():
				return sent, ctx.Err()
			case <-pause.C:
			}
		}
		from, to := unmapped(f.Server), unmapped(f.Phone)
		if err := s.sendSegment(from, to, unix.IPPROTO_TCP, acknowledgement(from, to)); err != nil {
			if len(errs) < 4 {
				errs = append(errs, err)
			}
			continue
		}
		sent++
	}
	return sent, errors.Join(errs...)
}

// acknowledgement is a segment of TCP with nothing but ACK (RFC 9293, 3.1).
func acknowledgement(from, to netip.AddrPort) []byte {
	const (
		header = 20
		ack    = 1 << 4
	)
	b := make([]byte, header)
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	b[12], b[13] = header/4<<4, ack
	binary.BigEndian.PutUint16(b[16:], transportSum(from.Addr(), to.Addr(), unix.IPPROTO_TCP, b))
	return b
}
