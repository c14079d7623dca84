package traffic

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/traffic/sip"
)

var errBounds = errors.New("registration out of bounds")

// readRegistration reads a REGISTER that came by meta, and its answer.
func readRegistration(request, answer *sip.Message, meta Meta) (location.Registration, error) {
	var t texts
	r := location.Registration{Transport: transportOf(request, meta)}
	address, _ := sip.Address(request.Header("to"))
	aor, err := location.AOR(t.read(address))
	if err != nil {
		return r, err
	}
	r.AOR, r.CallID, r.UserAgent = aor, t.read(request.CallID()), t.read(request.Header("user-agent"))
	r.CSeq, _, _ = request.CSeq()
	r.Path = t.joined(request, "path")
	r.Socket = r.Transport + ":" + meta.To.String()
	if !relayed(request) {
		r.Received = location.SourceURI(meta.From, r.Transport)
	}
	r.Named = t.contacts(request, life(request, location.Unsaid))
	r.Granted = t.contacts(answer, life(answer, location.DefaultLife))
	if t.bad {
		return r, errBounds
	}
	for _, c := range r.Named {
		r.All = r.All || c.URI == "*"
	}
	if r.All {
		if len(r.Named) > 1 || life(request, location.Unsaid) != 0 {
			return r, errors.New("all contacts, but not to end them") // no server accepts it (RFC 3261 10.3, step 6)
		}
		r.Named = nil
	}
	if len(r.Granted) == 0 {
		r.Partial, r.Granted = !r.All, assumed(r.Named, answer)
	}
	return r, r.Validate()
}

// life gives what the Expires header says, or what else holds.
func life(m *sip.Message, unsaid time.Duration) time.Duration {
	if seconds, ok := m.Expires(); ok {
		return time.Duration(seconds) * time.Second
	}
	return unsaid
}

// assumed is what a server has granted that accepts without a list: what it was asked for.
func assumed(named []location.Contact, answer *sip.Message) []location.Contact {
	var granted []location.Contact
	for _, c := range named {
		if c.Expires == 0 {
			continue
		}
		if c.Expires == location.Unsaid {
			c.Expires = location.DefaultLife
		}
		c.Expires = life(answer, c.Expires)
		granted = append(granted, c)
	}
	return granted
}

// transportOf is what carried a request, in small letters. What was taken for TLS may be WebSocket over TLS.
func transportOf(request *sip.Message, meta Meta) string {
	if name, _ := request.TopVia(); meta.Transport == TLS && strings.EqualFold(string(name), "WSS") {
		return "wss"
	}
	return strings.ToLower(meta.Transport.String())
}

// relayed reports whether a proxy sent the request on.
func relayed(request *sip.Message) bool {
	n := 0
	for range request.Headers("via") {
		if n++; n > 1 {
			return true
		}
	}
	return request.Header("path") != nil
}

// texts copies what a message says, within bounds.
type texts struct{ bad bool }

// read gives a text in one line. What breaks a line between words is one space (RFC 3261 7.3.1).
func (t *texts) read(b []byte) string {
	if len(b) > location.MaxField {
		t.bad = true
		return ""
	}
	if !bytes.ContainsAny(b, "\r\n\t") {
		return string(b)
	}
	line := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		end := i
		for end < len(b) && (b[end] == ' ' || b[end] == '\t' || b[end] == '\r' || b[end] == '\n') {
			end++
		}
		if end > i {
			line = append(line, ' ')
			i = end
			continue
		}
		line = append(line, b[i])
		i++
	}
	return string(line)
}

// joined gives all elements of a header, with commas between them.
func (t *texts) joined(m *sip.Message, name string) string {
	var all []byte
	for value := range m.Headers(name) {
		if len(all) > 0 {
			all = append(all, ',')
		}
		if all = append(all, value...); len(all) > location.MaxField {
			t.bad = true
			return ""
		}
	}
	return t.read(all)
}

// contacts gives the Contacts of a message; unsaid is the life of those that don't say it themselves.
func (t *texts) contacts(m *sip.Message, unsaid time.Duration) []location.Contact {
	var all []location.Contact
	for c := range m.Contacts() {
		if len(all) == location.MaxContacts || t.bad {
			t.bad = true
			return nil
		}
		contact := location.Contact{URI: t.read(c.URI), Q: location.NoQ, Expires: unsaid}
		if seconds, ok := c.Expires(); ok {
			contact.Expires = time.Duration(seconds) * time.Second
		}
		if q, ok := c.Param("q"); ok {
			contact.Q = perMille(q)
		}
		if value, ok := c.Param("+sip.instance"); ok {
			contact.Instance = t.read(value)
		}
		if value, ok := c.Param("reg-id"); ok {
			n, _ := strconv.ParseUint(string(value), 10, 32)
			contact.RegID = uint32(n)
		}
		if value, ok := c.Param("received"); ok {
			contact.Received = t.read(value)
		}
		all = append(all, contact)
	}
	return all
}

// perMille reads a q value (RFC 3261 25.1).
func perMille(b []byte) int {
	if len(b) > 5 {
		return location.NoQ
	}
	q, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return location.NoQ
	}
	return int(math.Round(q * 1000))
}
