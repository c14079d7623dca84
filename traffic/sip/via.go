package sip

import "bytes"

// TopVia gives the transport and the sent-by of the topmost Via (RFC 3261 20.42): "TCP" and "192.0.2.7:5062". They are nil without a
// readable one.
func (m *Message) TopVia() (transport, sentBy []byte) {
	line, _ := m.value(via)
	var q quoting
	line = line[:q.until(line, ';', ',')]
	for range 2 { // SIP, 2.0
		_, rest, ok := bytes.Cut(line, []byte("/"))
		if !ok {
			return nil, nil
		}
		line = rest
	}
	line = trim(line)
	n := tokenLength(line)
	if n == 0 || n == len(line) || !isBlank(line[n]) {
		return nil, nil
	}
	return line[:n], trim(line[n:])
}
