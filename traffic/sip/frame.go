package sip

import "encoding/binary"

// The opcodes of RFC 6455 5.2.
const (
	continuation = 0
	text         = 1
	binaryData   = 2
	control      = 8 // and more
)

// frame is the header of a WebSocket frame.
type frame struct {
	final, compressed, masked bool
	opcode                    byte
	header, size              int // lengths; header is a lower bound while unfinished, size then 0
	key                       [4]byte
}

type frameState uint8

const (
	complete frameState = iota
	unfinished
	invalid
)

// readFrame reads the header of the frame that v begins with. A frame of more than MaxMessage octets is none for us.
func readFrame(v []byte) (f frame, state frameState) {
	f = frame{final: v[0]&0x80 != 0, compressed: v[0]&0x40 != 0, opcode: v[0] & 0x0f, header: 2}
	if v[0]&0x30 != 0 || f.opcode > 10 || (f.opcode > binaryData && f.opcode < control) {
		return f, invalid
	}
	if len(v) < 2 {
		return f, unfinished
	}
	f.masked = v[1]&0x80 != 0
	short := int(v[1] & 0x7f)
	if f.opcode >= control && (!f.final || f.compressed || short > 125) {
		return f, invalid
	}
	switch short {
	case 126:
		f.header += 2
	case 127:
		f.header += 8
	}
	if f.masked {
		f.header += 4
	}
	if len(v) < f.header {
		return f, unfinished
	}
	size := uint64(short)
	switch short {
	case 126:
		size = uint64(binary.BigEndian.Uint16(v[2:]))
	case 127:
		size = binary.BigEndian.Uint64(v[2:])
	}
	if size > MaxMessage || (short == 126 && size < 126) || (short == 127 && size <= 0xffff) {
		return f, invalid
	}
	f.size = int(size)
	if f.masked {
		f.key = [4]byte(v[f.header-4 : f.header])
	}
	return f, complete
}

// unmask writes the first octets of a payload to out, as many as that has (RFC 6455 5.3).
func (f *frame) unmask(out, payload []byte) {
	copy(out, payload)
	if !f.masked {
		return
	}
	for i := range out {
		out[i] ^= f.key[i&3]
	}
}
