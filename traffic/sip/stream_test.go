package sip

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// message makes a MESSAGE that tells itself apart by its Call-ID.
func message(id int, body string) string {
	return fmt.Sprintf("MESSAGE sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nCall-ID: c%d\r\nCSeq: %d MESSAGE\r\nContent-Length: %d\r\n\r\n%s", id, id, id, len(body), body)
}

// collect feeds a stream in pieces of size octets and gives what it emits.
func collect(feed func([]byte, func([]byte)), in string, size int) (out []string) {
	for b := []byte(in); len(b) > 0; {
		n := min(size, len(b))
		piece := bytes.Clone(b[:n])
		feed(piece, func(msg []byte) { out = append(out, string(msg)) })
		for i := range piece { // a capture ring is used again
			piece[i] = 0xee
		}
		b = b[n:]
	}
	return out
}

// sizes are pieces that cut messages everywhere.
var sizes = []int{1, 2, 3, 7, 61, 536, 1448, 4096, 65535, 1 << 30}

// Whatever comes and however it is cut, the messages come out, each once.
func TestStream(t *testing.T) {
	a, b, c := message(1, ""), message(2, "hello"), message(3, strings.Repeat("x", 20000))
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	noLength := "OPTIONS sip:h SIP/2.0\r\nCall-ID: n\r\nCSeq: 1 OPTIONS\r\n\r\n"
	fits := message(4, strings.Repeat("x", MaxMessage-len(message(4, ""))-4))
	fitting := "INFO sip:h SIP/2.0\r\nCall-ID: i\r\nCSeq: 1 INFO\r\nX: "
	fitting += strings.Repeat("x", MaxMessage-len(fitting)-4) + "\r\n\r\n"
	tests := []struct {
		name, in string
		want     []string
	}{
		{"one", a, []string{a}},
		{"several", a + b + c + a, []string{a, b, c, a}},
		{"keep-alives", "\r\n\r\n" + a + "\r\n\r\n\r\n" + b + "\n\n" + c + "\r\n", []string{a, b, c}},
		{"responses", "SIP/2.0 200\r\nl:2\r\n\r\nxySIP/2.0 100 Trying\r\nl: 0\r\n\r\n", []string{"SIP/2.0 200\r\nl:2\r\n\r\nxy", "SIP/2.0 100 Trying\r\nl: 0\r\n\r\n"}},
		{"LF alone", lf(a) + lf(b), []string{lf(a), lf(b)}},
		{"no length", noLength + noLength + a, []string{noLength, noLength, a}},
		{"no length but a body", noLength + "v=0\r\ns=-\r\n" + a, []string{noLength, a}},
		{"folded length", "ACK sip:h SIP/2.0\r\nContent-Length:\r\n 2\r\n\r\nxy" + a, []string{"ACK sip:h SIP/2.0\r\nContent-Length:\r\n 2\r\n\r\nxy", a}},
		{"a message in a body", message(1, a) + b, []string{message(1, a), b}},
		{"as long as may be", fits + a, []string{fits, a}},
		{"garbage first", "\x80\x81binary\r\n" + a, []string{a}},
		{"the middle of a message first", a[30:] + a + b, []string{a, b}},
		{"the middle of a body first", "</presence>" + a + b, []string{a, b}},
		{"a word of a body first", "hello" + a + b, []string{a, b}},
		{"a long line of a body first", strings.Repeat("x", 3*maxStartLine) + a + b, []string{a, b}},
		{"a response after a body", "{}SIP/2.0 200 OK\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nl: 0\r\n\r\n", []string{"SIP/2.0 200 OK\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nl: 0\r\n\r\n"}},
		{"an unknown method", "x\r\nFANCY sip:h SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 FANCY\r\n\r\n", []string{"FANCY sip:h SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 FANCY\r\n\r\n"}},
		{"a quoted status line first", "x\r\n\r\nSIP/2.0 180 Ringing\r\n" + a, []string{a}},
		{"a quoted status line alone", "x\r\n\r\nSIP/2.0 180 Ringing\r\n\r\n" + a, []string{a}},
		{"too long by its length", a + message(2, strings.Repeat("x", MaxMessage)) + b, []string{a, b}},
		{"a length out of this world", a + "INFO sip:h SIP/2.0\r\nl: 99999999999999999999\r\n\r\n" + b, []string{a, b}},
		{"headers without end", a + "INFO sip:h SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 12000) + "\r\n" + b + c, []string{a, b, c}},
		{"one header without end", a + "INFO sip:h SIP/2.0\r\nX:" + strings.Repeat("x", 2*MaxMessage) + "\r\n" + b + c, []string{a, b, c}},
		{"a start line without end", a + "INFO sip:" + strings.Repeat("x", 2*maxStartLine) + " SIP/2.0\r\nCall-ID: i\r\nCSeq: 1 INFO\r\n\r\n" + b, []string{a, b}},
		{"headers as long as may be", fitting + a, []string{fitting, a}},
		{"headers that are one octet too long", a + strings.Replace(fitting, "X: ", "X:  ", 1) + b + c, []string{a, b, c}},
		{"nothing but line ends", strings.Repeat("\r\n", MaxMessage), nil},
		{"NULs", a + strings.Repeat("\x00", 1000) + b, []string{a, b}},
		{"not finished", a + b[:len(b)-1], []string{a}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range sizes {
				if size < 61 && len(tt.in) > 5000 {
					continue
				}
				var s Stream
				got := collect(s.Feed, tt.in, size)
				if !slices.Equal(got, tt.want) {
					t.Fatalf("pieces of %d: got %d messages %.300q, want %d", size, len(got), got, len(tt.want))
				}
				emitted := len(strings.Join(got, ""))
				if int(s.Skipped())+emitted+s.Buffered() > len(tt.in) {
					t.Errorf("pieces of %d: %d skipped, %d emitted, %d kept of %d", size, s.Skipped(), emitted, s.Buffered(), len(tt.in))
				}
				if want := Unknown; len(got) > 0 && s.Kind() != SIP || len(got) == 0 && s.Kind() != want {
					t.Errorf("pieces of %d: kind %d", size, s.Kind())
				}
			}
		})
	}
}

// After a loss the next whole message is found, wherever the octets are missing.
func TestStream_Gap(t *testing.T) {
	a, b, c := message(1, "hello"), message(2, "<xml/>"), message(3, "{}")
	all := a + b + c
	for from := 0; from <= len(a)+len(b); from += 3 {
		for to := from; to <= len(a)+len(b); to += 5 {
			var s Stream
			got := collect(s.Feed, all[:from], 100)
			s.Gap()
			got = append(got, collect(s.Feed, all[to:], 100)...)
			var want []string
			if from >= len(a) {
				want = append(want, a)
			}
			if from == len(a)+len(b) || to <= len(a) {
				want = append(want, b)
			}
			if from == 0 && to == 0 {
				want = []string{a, b}
			}
			want = append(want, c)
			if to == from && from > 0 && from < len(a)+len(b) {
				continue // nothing is missing, but the stream was told so
			}
			if !slices.Equal(got, want) {
				t.Fatalf("octets %d to %d missing: got %.500q", from, to, got)
			}
			if s.Kind() != SIP {
				t.Errorf("kind %d", s.Kind())
			}
		}
	}
}

func TestStream_Kind(t *testing.T) {
	tls := func(n int) string { return strings.Repeat(string(record(23, 60)), n) }
	tests := []struct {
		name, in string
		want     Kind
		messages int
	}{
		{"nothing yet", "", Unknown, 0},
		{"keep-alives", "\r\n\r\n", Unknown, 0},
		{"SIP", message(1, "") + tls(9), SIP, 1},
		{"TLS from the beginning", "\x16\x03\x01" + message(1, ""), TLS, 0},
		{"an octet of TLS", "\x16", Unknown, 0},
		{"two octets of TLS", "\x16\x03", Unknown, 0},
		{"an octet as in TLS", "\x16" + message(1, ""), SIP, 1},
		{"no version of TLS", "\x16\x03\x05\r\n" + message(1, ""), SIP, 1},
		{"TLS from the middle", strings.Repeat("\xc3\x28", 700) + tls(8*maxStartLine/65) + message(1, ""), TLS, 0},
		{"HTTP request", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n" + message(1, ""), HTTP, 0},
		{"HTTP response", "HTTP/1.1 101 Switching Protocols\r\n\r\n", HTTP, 0},
		{"garbage", strings.Repeat("\xff\xfe", 9999), Unknown, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range sizes {
				if size < 61 && len(tt.in) > 5000 {
					continue
				}
				var s Stream
				got := collect(s.Feed, tt.in, size)
				if s.Kind() != tt.want || len(got) != tt.messages {
					t.Errorf("pieces of %d: kind %d with %d messages, want %d with %d", size, s.Kind(), len(got), tt.want, tt.messages)
				}
				if s.Kind() == TLS && s.Buffered() > 0 {
					t.Errorf("pieces of %d: keeps %d octets of TLS", size, s.Buffered())
				}
			}
		})
	}
	var s Stream
	s.Feed([]byte("\x16\x03\x01"), nil)
	s.Gap()
	if s.Kind() != TLS {
		t.Error("forgets TLS over a gap")
	}
}

// A stream that began in the middle of a connection may begin with a record.
func TestStream_tlsAfterGap(t *testing.T) {
	var s Stream
	s.Feed([]byte("abc"), nil)
	s.Gap()
	s.Feed(record(23, 100), nil)
	if s.Kind() != TLS {
		t.Errorf("kind %d", s.Kind())
	}
}

// Whatever a peer sends, what is kept is bounded.
func TestStream_isBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 1<<18)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	bodies := []struct {
		in    string
		limit int
	}{
		{strings.Repeat("x", 1<<18), maxStartLine},
		{string(random), maxStartLine},
		{"\r\n" + strings.Repeat("INVITE sip:h SIP/2.0\r\n", 1<<14), MaxMessage},
		{strings.Repeat("INVITE sip:h SIP/2.0\r\nx\r\n", 1<<14), MaxMessage},
		{"INFO sip:h SIP/2.0\r\nl: 60000\r\n\r\n" + strings.Repeat("x", 1<<18), MaxMessage},
		{"INFO sip:h SIP/2.0\r\n" + strings.Repeat(" ", 1<<18), MaxMessage},
	}
	for i, tt := range bodies {
		for _, size := range []int{9999, 1 << 16, 1 << 18} {
			var s Stream
			for b := []byte(tt.in); len(b) > 0; {
				n := min(size, len(b))
				s.Feed(b[:n], func([]byte) {})
				b = b[n:]
				if s.Buffered() > tt.limit || cap(s.backlog.buf) > 2*MaxMessage {
					t.Fatalf("%d: keeps %d octets in %d", i, s.Buffered(), cap(s.backlog.buf))
				}
			}
		}
	}
	var s Stream // thousands of connections are quiet most of the time
	collect(s.Feed, message(1, strings.Repeat("x", 50000)), 1448)
	if cap(s.backlog.buf) > keptBuffer {
		t.Errorf("keeps %d octets for nothing", cap(s.backlog.buf))
	}
}

func TestStream_allocatesNothing(t *testing.T) {
	var s Stream
	in := []byte(register + register)
	messages := 0
	emit := func([]byte) { messages++ }
	if got := testing.AllocsPerRun(100, func() {
		s.Feed(in[:500], emit)
		s.Feed(in[500:1500], emit)
		s.Feed(in[1500:], emit)
	}); got != 0 || messages != 202 {
		t.Errorf("got %v allocations, %d messages", got, messages)
	}
}

// Streams made of what makes streams difficult, around the limits, come out the same however they are cut.
func TestStream_cutsDoNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	parts := []string{
		message(1, "hello"), message(2, ""), message(3, "{}"), "\r\n", "\n", "\r", " ", "INVITE sip:h SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "SIP/2.0 ", "sip:h SIP/2.0", "Call-ID: x\r\n", "CSeq: 1 INVITE\r\n",
		"l: 3\r\n", "Content-Length: 65000\r\n", "Content-Length: 65536\r\n", "\r\n\r\n", "\x16\x03\x01", "\x17\x03\x03\x00\x01x", "\x00", "GET / HTTP/1.1\r\n", "X: ",
		strings.Repeat("x", maxStartLine-5), strings.Repeat("y", maxStartLine), strings.Repeat("z", MaxMessage-200), strings.Repeat("\x17\x03\x03\x00\x01x", 700),
	}
	for round := range 400 {
		var in strings.Builder
		for range 1 + rng.IntN(9) {
			part := parts[rng.IntN(len(parts))]
			in.WriteString(part[rng.IntN(1+len(part)/(1+rng.IntN(40))):])
			in.WriteString(strings.Repeat("q", rng.IntN(12)/9*rng.IntN(9)))
		}
		var one, cut Stream
		want := collect(one.Feed, in.String(), 1<<30)
		var got []string
		for rest := in.String(); rest != ""; {
			n := min(len(rest), 1+rng.IntN([]int{40, 2000, MaxMessage}[round%3]))
			got = append(got, collect(cut.Feed, rest[:n], 1<<30)...)
			rest = rest[n:]
		}
		compare(t, fmt.Sprint("round ", round), got, want, &cut, &one)
	}
}

// What comes out does not depend on the cuts, and everything that comes out is one whole message.
func FuzzStream(f *testing.F) {
	a, b := message(1, "hello"), message(2, "")
	for _, in := range []string{
		a + b + a, "\r\n" + a + "\r\n\r\n" + b, a[20:] + b, "{}" + a + b, "GET / HTTP/1.1\r\n\r\n" + a, "SIP/2.0 180 Ringing\r\n" + a, "\x16\x03\x01\x00\x05hello" + a,
		"INFO sip:h SIP/2.0\r\nl: 70000\r\n\r\n" + a, "INFO sip:h SIP/2.0\nl: 3\n\nabc\nSIP/2.0 200\n\n" + b, strings.Repeat(string(record(23, 3)), 9) + a, torture[0].text + torture[5].text,
		strings.Repeat("x", maxStartLine-20) + a,
	} {
		f.Add([]byte(in), uint64(len(in)), uint16(3), false)
		f.Add([]byte(in), uint64(7), uint16(40), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, repeat uint16, gap bool) {
		if len(in) > 0 && len(in) < 100 { // what is long matters: limits
			in = bytes.Repeat(in, int(repeat)%2000+1)
		}
		one, cut, octets := Stream{}, Stream{}, Stream{}
		if gap {
			one.Gap()
			cut.Gap()
			octets.Gap()
		}
		want := collect(one.Feed, string(in), 1<<30)
		var m Message
		for _, msg := range want {
			if n, err := Parse([]byte(msg), &m); err != nil || n != len(msg) {
				t.Fatalf("emits %q, of which %d octets are a message: %v", msg, n, err)
			}
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var got []string
		for rest := string(in); rest != ""; {
			n := min(len(rest), 1+rng.IntN(1+len(rest)*int(1+seed%8)/8))
			got = append(got, collect(cut.Feed, rest[:n], 1<<30)...)
			rest = rest[n:]
		}
		compare(t, "random pieces", got, want, &cut, &one)
		if len(in) < 10000 {
			compare(t, "octets", collect(octets.Feed, string(in), 1), want, &octets, &one)
		}
	})
}

func compare(t *testing.T, how string, got, want []string, s, one *Stream) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", how, got, want)
	}
	if s.Kind() != one.Kind() || s.Skipped()+uint64(s.Buffered()) != one.Skipped()+uint64(one.Buffered()) {
		t.Fatalf("%s: kind %d, %d skipped, %d kept, in one piece kind %d, %d, %d", how, s.Kind(), s.Skipped(), s.Buffered(), one.Kind(), one.Skipped(), one.Buffered())
	}
}
