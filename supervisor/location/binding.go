package location

import (
	"strconv"
	"strings"
	"time"
)

// Binding is one registered Contact of an address of record.
type Binding struct {
	Contact   string // the URI, without angle brackets and header parameters: "sip:1001@192.0.2.7:5062;transport=tcp"
	Q         int    // per mille; NoQ if the phone gave none
	CallID    string // of the REGISTER that made it or refreshed it last
	CSeq      uint32 // likewise
	UserAgent string
	Received  string        // URI of where that REGISTER came from, where it differs from the Contact: "sip:203.0.113.9:31987"
	Path      string        // value of the Path header, all of them joined by commas
	Socket    string        // where the server received it: "udp:192.0.2.1:5060"; empty if it doesn't matter
	Instance  string        // +sip.instance, without quotes: "<urn:uuid:...>"
	RegID     uint32        // reg-id; 0 if there is none
	Flags     uint32        // the server's own, of the message
	Branch    uint32        // the server's own, of the branch: Kamailio keeps "behind NAT" there
	Methods   uint32        // what the phone allows, as the server's bit mask; AllMethods if it doesn't say
	Expires   time.Duration // a moment on the clock of whoever holds the binding
}

const (
	// NoQ is a binding without q value.
	NoQ = -1
	// AllMethods is a binding that excludes no method.
	AllMethods = 1<<32 - 1
)

// Key tells the bindings of one address of record apart: by instance and reg-id where the phone gives an instance (RFC 5626, section
// 6), else by the Contact's URI.
func (b *Binding) Key() string {
	if b.Instance == "" {
		return b.Contact
	}
	return b.Instance + ";" + strconv.FormatUint(uint64(b.RegID), 10)
}

// Transport is what the Contact is reached by: "udp", "tcp", "tls", "ws" or "wss".
func (b *Binding) Transport() string {
	for _, uri := range []string{b.Received, b.Contact} {
		if t := uriTransport(uri); t != "" {
			return t
		}
	}
	if proto, _, ok := strings.Cut(b.Socket, ":"); ok {
		return strings.ToLower(proto)
	}
	return "udp"
}

// Connected reports whether the binding lives as long as one connection: whoever did not accept that connection can't reach the phone.
func (b *Binding) Connected() bool { return b.Transport() != "udp" }

// uriTransport is the transport that a URI names, or that its scheme means; empty if it says nothing.
func uriTransport(uri string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	for p := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(name, "transport") {
			continue
		}
		value, _, _ = strings.Cut(value, "?")
		value = strings.ToLower(value)
		if strings.EqualFold(scheme, "sips") && value == "tcp" {
			return "tls"
		}
		return value
	}
	if strings.EqualFold(scheme, "sips") {
		return "tls"
	}
	return ""
}

// Older reports whether b is a state of the same registration before that of other: the same Call-ID and a lower CSeq (RFC 3261, 10.3).
func (b *Binding) Older(other *Binding) bool { return b.CallID == other.CallID && b.CSeq < other.CSeq }

// rounding is how far two views of one moment of expiry may differ: servers tell whole seconds, and are asked at different moments.
const rounding = 2 * time.Second

// Same reports whether two bindings say the same, the moment of expiry but for the rounding of those who tell it.
func (b *Binding) Same(other *Binding) bool {
	x, y := *b, *other
	x.Expires, y.Expires = 0, 0
	return x == y && (b.Expires-other.Expires).Abs() <= rounding
}

// SameShape reports whether two bindings differ in nothing but what a refresh changes: CSeq and expiry.
func (b *Binding) SameShape(other *Binding) bool {
	x, y := *b, *other
	x.Expires, x.CSeq, y.Expires, y.CSeq = 0, 0, 0, 0
	return x == y
}
