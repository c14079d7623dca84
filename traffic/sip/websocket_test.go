package sip

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// wsFrame makes a frame as RFC 6455 5.2 has it; a client masks it.
func wsFrame(first byte, masked bool, payload string) string {
	b := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return string(append(b, payload...))
	}
	key := [4]byte{0x9a, 0x21, 0xf7, 0x80}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

const (
	wsRequest  = "GET /sip HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"
	wsResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
	wsText     = 0x81
	wsBinary   = 0x82
	wsPing     = 0x89
	wsClose    = 0x88
)

// RFC 7118: one message a frame, masked by clients, whatever comes between and however it is cut.
func TestWebSocket(t *testing.T) {
	a, b, long := message(1, ""), message(2, strings.Repeat("x", 300)), message(3, strings.Repeat("x", MaxMessage-200))
	var client, server string
	for _, msg := range []string{a, b, a} {
		client += wsFrame(wsText, true, msg)
		server += wsFrame(wsText, false, msg)
	}
	tests := []struct {
		name, in string
		want     []string
	}{
		{"client", wsRequest + client, []string{a, b, a}},
		{"server", wsResponse + server, []string{a, b, a}},
		{"without the opening", client, []string{a, b, a}},
		{"binary", wsFrame(wsBinary, true, a), []string{a}},
		{"64 bits of length", wsFrame(wsText, true, long) + wsFrame(wsText, false, a), []string{long, a}},
		{"ping and close", wsRequest + wsFrame(wsPing, true, "hello") + wsFrame(wsText, true, a) + wsFrame(wsClose, true, "\x03\xe8"), []string{a}},
		{"keep-alive in a frame", wsFrame(wsText, true, "\r\n\r\n") + wsFrame(wsText, true, a), []string{"\r\n\r\n", a}},
		{"fragments", wsFrame(0x01, true, a[:9]) + wsFrame(wsPing, true, "") + wsFrame(0, true, a[9:50]) + wsFrame(0x80, true, a[50:]) + wsFrame(wsText, true, b), []string{a, b}},
		{"fragments without end", wsFrame(0x01, true, a) + wsFrame(wsText, true, b), []string{b}},
		{"fragments without beginning", wsFrame(0x80, true, a) + wsFrame(wsText, true, b), []string{b}},
		{"fragments that are too long", wsFrame(0x01, true, long) + wsFrame(0, true, long) + wsFrame(0x80, true, a) + wsFrame(wsText, true, b), []string{b}},
		{"compressed", wsFrame(0xc1, true, "\x00\x01") + wsFrame(0x41, true, "\x00\x01") + wsFrame(0x80, true, "\x02") + wsFrame(wsText, true, a), []string{a}},
		{"the middle of a frame first", client[40:], []string{b, a}},
		{"the middle of a frame first, from a server", server[40:], []string{b, a}},
		{"the middle of the opening first", wsRequest[10:] + client, []string{a, b, a}},
		{"an opening without end", "GET " + strings.Repeat("x", 2*maxHTTPHead) + client, []string{a, b, a}},
		{"garbage between", wsFrame(wsText, true, a) + "\xf1\x81\x82garbage\x81\xff" + wsFrame(wsText, true, b), []string{a, b}},
		{"a frame that is too long", wsFrame(wsText, true, strings.Repeat("x", MaxMessage+1)) + client, []string{a, b, a}},
		{"a length that is not the shortest", "\x81\x7e\x00\x05hello" + client, []string{a, b, a}},
		{"a control frame that is too long", wsFrame(wsPing, true, strings.Repeat("x", 126)) + client, []string{a, b, a}},
		{"not finished", client[:len(client)-1], []string{a, b}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range sizes {
				if size < 61 && len(tt.in) > 5000 {
					continue
				}
				var w WebSocket
				if got := collect(w.Feed, tt.in, size); !slices.Equal(got, tt.want) {
					t.Fatalf("pieces of %d: got %d messages %.300q, want %d", size, len(got), got, len(tt.want))
				}
				if kept := w.Buffered(); int(w.Skipped())+kept > len(tt.in) {
					t.Errorf("pieces of %d: %d skipped and %d kept of %d", size, w.Skipped(), kept, len(tt.in))
				}
			}
		})
	}
}

// The octets are those of a capture ring: unmasking must not touch them.
func TestWebSocket_leavesItsInput(t *testing.T) {
	in := []byte(wsFrame(wsText, true, message(1, "hello")))
	before := bytes.Clone(in)
	var w WebSocket
	w.Feed(in, func([]byte) {})
	if !bytes.Equal(in, before) {
		t.Error("the input changed")
	}
}

func TestWebSocket_Gap(t *testing.T) {
	a, b := message(1, "hello"), message(2, "")
	one, two := wsFrame(wsText, true, a), wsFrame(wsText, true, b)
	for missing := 1; missing < len(one); missing += 7 {
		var w WebSocket
		got := collect(w.Feed, wsRequest+one+one[:len(one)/3], 100)
		w.Gap()
		got = append(got, collect(w.Feed, one[missing:]+two, 100)...)
		if want := []string{a, b}; !slices.Equal(got, want) {
			t.Fatalf("%d octets missing: got %q", missing, got)
		}
	}
}

// A peer can't make it keep more than a frame and a message.
func TestWebSocket_isBounded(t *testing.T) {
	for _, in := range []string{
		strings.Repeat(wsFrame(0x01, true, "x"), 1<<14), strings.Repeat(wsFrame(0, true, strings.Repeat("x", 60000)), 8),
		wsFrame(0x01, true, "x") + strings.Repeat(wsFrame(0, true, strings.Repeat("x", 6000)), 40), "GET " + strings.Repeat("x", 1<<18), strings.Repeat("\x81", 1<<18),
	} {
		var w WebSocket
		for b := []byte(in); len(b) > 0; {
			n := min(9999, len(b))
			w.Feed(b[:n], func([]byte) {})
			b = b[n:]
			if kept := cap(w.backlog.buf) + cap(w.msg); kept > 4*MaxMessage {
				t.Fatalf("keeps %d octets", kept)
			}
		}
	}
	var w WebSocket
	collect(w.Feed, wsFrame(wsText, true, strings.Repeat("x", 50000)), 1448)
	if kept := cap(w.backlog.buf) + cap(w.msg); kept > 2*keptBuffer {
		t.Errorf("keeps %d octets for nothing", kept)
	}
}

// Connections made of what makes them difficult, around the limits, come out the same however they are cut.
func TestWebSocket_cutsDoNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	a, long := message(1, "hello"), message(2, strings.Repeat("x", MaxMessage-300))
	parts := []string{
		wsRequest, wsResponse, wsFrame(wsText, true, a), wsFrame(wsText, false, a), wsFrame(wsBinary, true, a), wsFrame(0x01, true, a[:20]), wsFrame(0, true, a[20:30]), wsFrame(0x80, false, a[30:]),
		wsFrame(wsPing, true, "x"), wsFrame(wsText, true, long), wsFrame(0x01, true, long), wsFrame(0x80, true, strings.Repeat("x", 500)), wsFrame(wsText, true, "\r\n"), "\x81", "\x81\xfe", "\x00", "GET ",
		strings.Repeat("G", maxHTTPHead-10), "\r\n\r\n", "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", wsFrame(0xc1, true, a),
	}
	for round := range 150 {
		var in strings.Builder
		for range 1 + rng.IntN(9) {
			part := parts[rng.IntN(len(parts))]
			in.WriteString(part[rng.IntN(1+len(part)/(1+rng.IntN(40))):])
		}
		var one, cut WebSocket
		want := collect(one.Feed, in.String(), 1<<30)
		var got []string
		for rest := in.String(); rest != ""; {
			n := min(len(rest), 1+rng.IntN([]int{40, 2000, MaxMessage}[round%3]))
			got = append(got, collect(cut.Feed, rest[:n], 1<<30)...)
			rest = rest[n:]
		}
		if !slices.Equal(got, want) || cut.Skipped() != one.Skipped() || cut.Buffered() != one.Buffered() {
			t.Fatalf("round %d: got %.300q, %d skipped, %d kept, in one piece %.300q, %d, %d", round, got, cut.Skipped(), cut.Buffered(), want, one.Skipped(), one.Buffered())
		}
	}
}

// What comes out does not depend on the cuts.
func FuzzWebSocket(f *testing.F) {
	a := message(1, "hello")
	for _, in := range []string{
		wsRequest + wsFrame(wsText, true, a), wsResponse + wsFrame(wsText, false, a), wsFrame(0x01, true, a[:9]) + wsFrame(0x80, false, a[9:]), wsFrame(wsText, true, a)[30:] + wsFrame(wsText, true, a),
		"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "\x81\xfe\x00\x05hello" + wsFrame(wsPing, true, "x"),
	} {
		f.Add([]byte(in), uint64(1), false)
		f.Add([]byte(in), uint64(2), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, gap bool) {
		var one, cut, octets WebSocket
		if gap {
			one.Gap()
			cut.Gap()
			octets.Gap()
		}
		want := collect(one.Feed, string(in), 1<<30)
		for _, msg := range want {
			if len(msg) > MaxMessage {
				t.Fatalf("emits %d octets", len(msg))
			}
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var got []string
		for rest := string(in); rest != ""; {
			n := 1 + rng.IntN(len(rest))
			got = append(got, collect(cut.Feed, rest[:n], 1<<30)...)
			rest = rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("random pieces: got %q, want %q", got, want)
		}
		if len(in) > 10000 {
			return
		}
		if got := collect(octets.Feed, string(in), 1); !slices.Equal(got, want) || octets.lost != one.lost {
			t.Fatalf("octet by octet: got %q, want %q", got, want)
		}
	})
}
