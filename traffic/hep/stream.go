package hep

import "encoding/binary"

// Stream cuts packets from a TCP connection on which a server sends HEP. It keeps at most one packet. The zero Stream is ready for use.
type Stream struct {
	buf    []byte // the beginning of a packet
	broken bool
}

// Feed takes the next octets of the connection and calls emit for each packet that is complete with them, valid during the call. Octets
// that begin no packet are ErrNotHEP, a length that no packet has is ErrMalformed: nothing can be read after that, close the connection.
func (s *Stream) Feed(b []byte, emit func(packet []byte)) error {
	if s.broken {
		return ErrNotHEP
	}
	for len(b) > 0 {
		if len(s.buf) == 0 {
			n, err := packetLength(b)
			if err != nil {
				s.broken = true
				return err
			}
			if n > 0 && n <= len(b) {
				emit(b[:n:n])
				b = b[n:]
				continue
			}
		}
		want := header
		if len(s.buf) >= header {
			want, _ = packetLength(s.buf)
		}
		n := min(len(b), want-len(s.buf))
		s.buf, b = append(s.buf, b[:n]...), b[n:]
		length, err := packetLength(s.buf)
		if err != nil {
			s.buf, s.broken = nil, true
			return err
		}
		if length == len(s.buf) {
			emit(s.buf)
			s.buf = s.buf[:0]
		}
	}
	return nil
}

// packetLength gives the length of the packet that b begins with, 0 if that is not there yet.
func packetLength(b []byte) (int, error) {
	n := min(len(b), len(magic))
	if string(b[:n]) != magic[:n] {
		return 0, ErrNotHEP
	}
	if len(b) < header {
		return 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[len(magic):]))
	if length < header {
		return 0, ErrMalformed
	}
	return length, nil
}
