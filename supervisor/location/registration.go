package location

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a Registration. What exceeds them is refused: it is an attack or a mistake, and what is kept of one phone must not cost others.
const (
	MaxContacts = 128       // of one REGISTER, of one answer and of one address of record
	MaxField    = 2 << 10   // octets of each text
	DefaultLife = time.Hour // of a Contact that neither says how long it lasts nor is told (RFC 3261 10.2.1.1)
)

// Registration is what a REGISTER and its answer, a 2xx, say together.
type Registration struct {
	AOR       string // as AOR makes it
	CallID    string
	CSeq      uint32
	UserAgent string
	Path      string // value of the Path header, all of them joined by commas
	// Received is the URI of where the REGISTER came from: "sip:203.0.113.9:31987;transport=tcp". It is empty if a proxy sent it on: then
	// Path or the Contact says how the phone is reached, and the source is the proxy's.
	Received  string
	Socket    string        // where the server received it: "udp:192.0.2.1:5060"
	Transport string        // "udp", "tcp", "tls", "ws", "wss" or "sctp"
	At        time.Duration // when the answer was sent, on the clock of whoever saw it

	All     bool      // the REGISTER ends all bindings: "Contact: *"
	Named   []Contact // the REGISTER's Contacts
	Granted []Contact // those that there are now
	// Partial says that Granted tells of those Named alone, and others may be there as well: the answer had no Contacts, or was made while
	// another REGISTER for the same AOR changed them.
	Partial bool
}

// Contact is an element of a Contact header.
type Contact struct {
	URI      string
	Q        int // per mille; NoQ without one
	Instance string
	RegID    uint32
	Received string        // of registrars that tell: URI of where the REGISTER came from
	Expires  time.Duration // from now; 0 ends the binding. Unsaid if the REGISTER leaves it to the server
}

// Unsaid is the life of a Contact that a REGISTER says nothing about.
const Unsaid time.Duration = -1

var errNotText = errors.New("invalid UTF-8 or control characters")

// Validate reports what is out of bounds or can't be what a phone meant. What it lets pass can be written into a SIP header, each URI
// between angle brackets, each instance between quotation marks, without ending them.
func (r *Registration) Validate() error {
	if len(r.Named) > MaxContacts || len(r.Granted) > MaxContacts {
		return fmt.Errorf("registration: more than %d contacts", MaxContacts)
	}
	if r.AOR == "" || strings.ContainsAny(r.AOR, ` "<>`) {
		return errors.New("registration: address of record is none")
	}
	for _, field := range [...]struct{ name, text string }{
		{"address of record", r.AOR}, {"Call-ID", r.CallID}, {"user agent", r.UserAgent}, {"path", r.Path}, {"source", r.Received},
		{"socket", r.Socket}, {"transport", r.Transport},
	} {
		if err := checkText(field.text); err != nil {
			return fmt.Errorf("registration: %s: %w", field.name, err)
		}
	}
	for _, list := range [][]Contact{r.Named, r.Granted} {
		for i := range list {
			if err := list[i].validate(); err != nil {
				return fmt.Errorf("registration: contact: %w", err)
			}
		}
	}
	return nil
}

func (c *Contact) validate() error {
	if c.URI == "" || c.URI == "*" || strings.ContainsAny(c.URI, ` "<>`) || strings.ContainsAny(c.Received, ` "<>`) || strings.ContainsAny(c.Instance, `"\`) {
		return errors.New("characters that it can't have")
	}
	return errors.Join(checkText(c.URI), checkText(c.Received), checkText(c.Instance))
}

func checkText(s string) error {
	if len(s) > MaxField {
		return fmt.Errorf("longer than %d octets", MaxField)
	}
	for i := range len(s) {
		if s[i] >= ' ' && s[i] < 0x7f {
			continue
		}
		if rest := s[i:]; !utf8.ValidString(rest) || strings.ContainsFunc(rest, unicode.IsControl) {
			return errNotText
		}
		break
	}
	return nil
}

// SourceURI writes where a REGISTER came from as registrars do.
func SourceURI(from netip.AddrPort, transport string) string {
	uri := "sip:" + netip.AddrPortFrom(from.Addr().Unmap(), from.Port()).String()
	if transport != "udp" {
		uri += ";transport=" + transport
	}
	return uri
}
