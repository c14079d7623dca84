package supervisor

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// TestMessage_roundTrip proves that ParseMessage gives what Append was given, for every kind.
func TestMessage_roundTrip(t *testing.T) {
	for k := KindRenew; k <= KindRelease; k++ {
		want := Message{Kind: k, Epoch: 1<<63 + 7, Seq: 1<<40 + 3, Wait: MaxWait}
		b := want.Append(nil)
		got, err := ParseMessage(b)
		if err != nil || got != want || len(b) != MessageSize {
			t.Errorf("%s: got %+v, %v in %d octets; want %+v in %d", k, got, err, len(b), want, MessageSize)
		}
	}
}

// TestParseMessage_refuses proves that what no node sends is an error and not a message.
func TestParseMessage_refuses(t *testing.T) {
	good := Message{Kind: KindRenew, Epoch: 1}.Append(nil)
	tests := map[string][]byte{
		"nothing":       nil,
		"too short":     good[:MessageSize-1],
		"too long":      append(bytes.Clone(good), 0),
		"kind 0":        append([]byte{0}, good[1:]...),
		"kind 10":       append([]byte{byte(KindRelease) + 1}, good[1:]...),
		"wait too long": Message{Kind: KindRenew, Wait: MaxWait + 1}.Append(nil),
		"negative wait": Message{Kind: KindRenew, Wait: -time.Nanosecond}.Append(nil),
	}
	for name, b := range tests {
		if m, err := ParseMessage(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

// FuzzParseMessage proves that what parses is encoded to the same octets again.
func FuzzParseMessage(f *testing.F) {
	f.Add(Message{Kind: KindClosed, Epoch: 3, Seq: 9, Wait: time.Second}.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if got := m.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%x parses as %+v, which is %x", b, m, got)
		}
	})
}
