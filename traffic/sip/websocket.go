package sip

import (
	"bytes"
)

const (
	maxFrameHeader = 14
	maxHTTPHead    = 16 << 10
	peek           = 16 // octets of a frame that show whether it carries SIP
)

// WebSocket cuts messages from one direction of a WebSocket connection that is not encrypted: one message a frame or a row of frames (RFC
// 6455, RFC 7118). It skips the HTTP that opens the connection, control frames, and compressed messages (RFC 7692), which it
// can't read. It can begin anywhere in a connection: out of step it looks for a frame that carries the beginning of a SIP message. What it
// emits does not depend on how the octets were cut. It keeps at most one frame and one message of MaxMessage octets. The zero WebSocket is
// ready for use.
type WebSocket struct {
	backlog backlog
	begun   bool
	http    bool // in the HTTP at the beginning
	lost    bool // out of step
	open    bool // msg waits for more frames
	msg     []byte
	skipped uint64
}

// Feed takes the next octets of the connection and calls emit for each message that is complete with them, valid during the call. It may
// also be a keep-alive: Parse tells.
func (w *WebSocket) Feed(b []byte, emit func(msg []byte)) {
	w.backlog.feed(b, maxFrameHeader+MaxMessage, func(v []byte) (used, want int) {
		for ok := true; ok; {
			var n int
			n, want, ok = w.step(v[used:], emit)
			used += n
		}
		return used, want
	})
	if !w.open && cap(w.msg) > keptBuffer {
		w.msg = nil
	}
}

// Gap tells that octets are missing before those that Feed gets next.
func (w *WebSocket) Gap() {
	*w = WebSocket{begun: true, lost: true, skipped: w.skipped + uint64(w.Buffered())}
}

// Buffered tells how many octets wait for the rest of their message.
func (w *WebSocket) Buffered() int { return len(w.backlog.buf) + len(w.msg) }

// Skipped counts the octets of what was neither emitted nor a control frame nor the opening.
func (w *WebSocket) Skipped() uint64 { return w.skipped }

// step takes one decision and says how many octets it settles. ok is false if it needs more, want of them at least.
func (w *WebSocket) step(v []byte, emit func([]byte)) (n, want int, ok bool) {
	switch {
	case len(v) == 0:
		return 0, 0, false
	case !w.begun:
		return 0, 0, w.begin(v)
	case w.http:
		return w.skipHTTP(v)
	case w.lost:
		return w.search(v)
	}
	f, state := readFrame(v)
	switch {
	case state == invalid:
		w.lost = true
		w.abandon()
		return 0, 0, true
	case state == unfinished || len(v) < f.header+f.size:
		return 0, f.header + f.size, false
	}
	w.take(f, v[f.header:f.header+f.size], emit)
	return f.header + f.size, 0, true
}

// begin looks at the first octets. It is false if they are too few.
func (w *WebSocket) begin(v []byte) bool {
	for _, start := range []string{"GET ", "HTTP/1."} {
		n := min(len(v), len(start))
		if string(v[:n]) != start[:n] {
			continue
		}
		if n < len(start) {
			return false
		}
		w.http = true
	}
	w.begun = true
	return true
}

func (w *WebSocket) skipHTTP(v []byte) (n, want int, ok bool) {
	const end = "\r\n\r\n"
	i := bytes.Index(v[:min(len(v), maxHTTPHead)], []byte(end))
	if i < 0 && len(v) < maxHTTPHead {
		return 0, 0, false
	}
	w.http = false
	w.lost = i < 0
	return max(0, i+len(end)), 0, true
}

// search looks for a frame that carries SIP.
func (w *WebSocket) search(v []byte) (n, want int, ok bool) {
	for n = range v {
		f, state := readFrame(v[n:])
		if state == invalid || !f.final || f.compressed || (f.opcode != text && f.opcode != binaryData) {
			continue
		}
		if state == unfinished {
			w.skipped += uint64(n)
			return n, 0, false
		}
		if f.size < peek {
			continue
		}
		if len(v) < n+f.header+peek {
			w.skipped += uint64(n)
			return n, f.header + peek, false
		}
		var start [peek]byte
		f.unmask(start[:], v[n+f.header:])
		if beginsLikeSIP(start[:]) {
			w.skipped += uint64(n)
			w.lost = false
			return n, 0, true
		}
	}
	w.skipped += uint64(len(v))
	return len(v), 0, false
}

// take takes a frame that is complete.
func (w *WebSocket) take(f frame, payload []byte, emit func([]byte)) {
	switch {
	case f.opcode >= control:
		return
	case f.opcode != continuation:
		w.abandon()
		w.open = !f.compressed
	}
	if !w.open || len(w.msg)+len(payload) > MaxMessage {
		w.skipped += uint64(len(payload))
		w.abandon()
		return
	}
	at := len(w.msg)
	w.msg = append(w.msg, payload...)
	f.unmask(w.msg[at:], payload)
	if f.final {
		emit(w.msg[:len(w.msg):len(w.msg)])
		w.open, w.msg = false, w.msg[:0]
	}
}

// abandon gives up a message that is not complete.
func (w *WebSocket) abandon() {
	w.skipped += uint64(len(w.msg))
	w.open, w.msg = false, w.msg[:0]
}

// beginsLikeSIP looks at the first octets of a message.
func beginsLikeSIP(b []byte) bool {
	if bytes.HasPrefix(b, []byte("SIP/2.0 ")) {
		return true
	}
	method, _, found := bytes.Cut(b, []byte(" "))
	for _, m := range methods {
		if found && string(method) == m {
			return true
		}
	}
	return false
}
