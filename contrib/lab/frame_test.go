package lab

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// A solicitation checks like RFC 4443 2.3 says: with its checksum in place, the sum over pseudo header and message is zero.
func TestSolicitation_checksum(t *testing.T) {
	for g := range guise(guises) {
		b := solicitation(legOf(MemberA, SIP).mac(), g, ServiceAddress6)
		if got := checksum6(b[14+8:14+40], b[14+40:]); got != 0 {
			t.Errorf("guise %d: the sum over the message is %#04x, want 0", g, got)
		}
	}
}

func TestParseClaim(t *testing.T) {
	a := legOf(MemberA, SIP).mac()
	reply := arpRequest(guise(3).mac(), 0, ServiceAddress) // as the kernel answers: operation 2, the address as its sender's
	copy(reply[6:], a)
	binary.BigEndian.PutUint16(reply[20:], 2)
	service := ServiceAddress.As4()
	copy(reply[28:], service[:])

	advert := solicitation(guise(5).mac(), 0, ServiceAddress6)
	copy(advert[6:], a)
	advert[14+40] = ndAdvertise

	other := bytes.Clone(reply)
	other[31]++
	toClient := bytes.Clone(reply)
	copy(toClient, legOf(client, SIP).mac())
	tests := []struct {
		name  string
		frame []byte
		want  claim
		ok    bool
	}{
		{"ARP reply", reply, claim{from: a, to: 3}, true},
		{"neighbour advertisement", advert, claim{from: a, to: 5, six: true}, true},
		{"ARP request", arpRequest(guise(3).mac(), 0, ServiceAddress), claim{}, false},
		{"reply for another address", other, claim{}, false},
		{"reply to somebody else", toClient, claim{}, false},
		{"truncated", reply[:41], claim{}, false},
		{"truncated advertisement", advert[:14+40+23], claim{}, false},
		{"empty", nil, claim{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseClaim(test.frame)
			if ok != test.ok {
				t.Fatalf("understood: %t, want %t", ok, test.ok)
			}
			if ok && (!bytes.Equal(got.from, test.want.from) || got.to != test.want.to || got.six != test.want.six) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// An answer is credited to the look in whose guise it was asked for, also when newer looks have been made meanwhile.
func TestObserver_credit(t *testing.T) {
	const looks, asked, answered = 2*guises + 5, guises + 2, guises + 9
	o := &Observer{}
	for i := range looks {
		o.remember(time.Duration(i) * ms)
	}
	// When the answer is read, the same guise has been used once more: but that was after it arrived.
	o.credit(claim{to: guiseOf(asked)}, holderOf(1), answered*ms)
	for i, s := range o.samples {
		if got, want := s.Holders != 0, i == asked; got != want {
			t.Errorf("look %d credited: %t, want %t", i, got, want)
		}
	}
	if got, want := o.samples[asked].Took, (answered-asked)*ms; got != want {
		t.Errorf("the look took %v, want %v", got, want)
	}
	fresh := &Observer{}
	fresh.credit(claim{from: net.HardwareAddr{}, to: 3}, holderOf(0), 0) // an answer before any look: nothing to credit
}
