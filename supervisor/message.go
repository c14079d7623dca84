package supervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Kind says what a lease message is for.
type Kind uint8

// The kinds of lease messages. They travel as single datagrams; losing, repeating or reordering any of them costs time, never safety.
const (
	KindRenew    Kind = 1 + iota // primary to voter: promise me Epoch until Promise from now
	KindAck                      // voter to primary: promised, for the renewal with this Seq
	KindNack                     // voter to primary: no; Epoch is the newest epoch known here, Wait what is left of another promise
	KindProbe                    // named primary without a lease to voter: do you hear me? Promises nothing
	KindProbeAck                 // voter: I hear you; Wait is what is left of a promise to another epoch
	KindClose                    // backup to voter: never answer Epoch again, its primary is silent here
	KindClosed                   // voter to backup: done; Wait is what is left of the promise
	KindRefuse                   // voter to backup: no, I hear the primary
	KindRelease                  // primary to voter: I hold nothing of Epoch and never will again
)

var kindNames = [...]string{"?", "RENEW", "ACK", "NACK", "PROBE", "PROBE-ACK", "CLOSE", "CLOSED", "REFUSE", "RELEASE"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Message is one lease message.
type Message struct {
	Kind  Kind
	Epoch Epoch
	Seq   uint64        // of the RENEW or PROBE, repeated in its answer; RELEASE: why, as a number
	Wait  time.Duration // NACK, PROBE-ACK, CLOSED: rest of a standing promise on the voter's clock; RENEW: length of the promise asked for
}

// MessageSize is the length of an encoded message in octets.
const MessageSize = 1 + 8 + 8 + 8

// ErrMessage reports octets that are no lease message.
var ErrMessage = errors.New("malformed lease message")

// Append adds the encoded message to b: kind, then epoch, seq and wait in nanoseconds as 64-bit big-endian numbers.
func (m Message) Append(b []byte) []byte {
	b = append(b, byte(m.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Epoch))
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	return binary.BigEndian.AppendUint64(b, uint64(m.Wait))
}

// MaxWait bounds the Wait of a message: no promise is longer.
const MaxWait = time.Minute

// ParseMessage decodes what Append encoded.
func ParseMessage(b []byte) (Message, error) {
	if len(b) != MessageSize {
		return Message{}, fmt.Errorf("%w: %d octets, not %d", ErrMessage, len(b), MessageSize)
	}
	m := Message{
		Kind:  Kind(b[0]),
		Epoch: Epoch(binary.BigEndian.Uint64(b[1:])),
		Seq:   binary.BigEndian.Uint64(b[9:]),
		Wait:  time.Duration(binary.BigEndian.Uint64(b[17:])),
	}
	if m.Kind < KindRenew || m.Kind > KindRelease {
		return Message{}, fmt.Errorf("%w: kind %d", ErrMessage, b[0])
	}
	if m.Wait < 0 || m.Wait > MaxWait {
		return Message{}, fmt.Errorf("%w: wait of %v", ErrMessage, m.Wait)
	}
	return m, nil
}
