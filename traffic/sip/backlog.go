package sip

// keptBuffer is how much memory a stream keeps for the next message that comes in pieces, in octets.
const keptBuffer = 2 << 10

// backlog holds the octets of a stream that are not settled yet. Messages that come whole never pass through it.
type backlog struct {
	buf  []byte
	want int // settle has nothing to decide before it sees so many; 0 if it does not know
}

// feed gives settle all octets that are not settled, with b at the end, again and again until it wants more. settle tells how many it is
// done with; it has to be done with some of limit octets.
func (k *backlog) feed(b []byte, limit int, settle func(v []byte) (used, want int)) {
	used := 0
	for len(b) > 0 && len(k.buf) > 0 {
		n := limit
		switch {
		case k.want > 0:
			n = k.want
		case len(k.buf) < keptBuffer: // most messages end before that
			n = keptBuffer
		}
		n = min(len(b), n-len(k.buf))
		k.buf, b = append(k.buf, b[:n]...), b[n:]
		used, k.want = settle(k.buf)
		k.buf = k.buf[:copy(k.buf, k.buf[used:])]
	}
	if len(k.buf) == 0 && cap(k.buf) > keptBuffer {
		k.buf = nil
	}
	if len(b) > 0 {
		used, k.want = settle(b)
		k.buf = append(k.buf, b[used:]...)
	}
}
