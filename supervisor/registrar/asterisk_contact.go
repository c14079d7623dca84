package registrar

import (
	"crypto/md5" //nolint:gosec // Asterisk names its contacts by it
	"encoding/hex"
	"net"
	"strings"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// originalHost is the parameter in which res_pjsip_nat.c keeps the host and port that the phone gave.
const originalHost = ";x-ast-orig-host="

// fromAsterisk takes a rewritten URI apart into that of the phone and where it came from.
func fromAsterisk(uri string) (contact, received string) {
	before, original, ok := strings.Cut(uri, originalHost)
	if !ok {
		return uri, ""
	}
	original, after, more := strings.Cut(original, ";")
	if more {
		before += ";" + after
	}
	user, host, rest, ok := cutURI(before)
	if !ok || original == "" {
		return uri, ""
	}
	original = strings.TrimSuffix(original, ":0") // PJSIP's number for no port
	scheme, _, _ := strings.Cut(uri, ":")
	received = scheme + ":" + host
	if t := parameter(rest, "transport"); t != "" {
		received += ";transport=" + t
	}
	return user + original + rest, received
}

// toAsterisk is the URI that Asterisk would have kept, had the phone registered there with rewrite_contact.
func toAsterisk(b *location.Binding) string {
	if b.Received == "" {
		return b.Contact
	}
	_, seen, _, okReceived := cutURI(b.Received)
	user, host, rest, ok := cutURI(b.Contact)
	if !ok || !okReceived || host == seen {
		return b.Contact
	}
	if !hasPort(host) {
		host += ":0"
	}
	return user + seen + rest + originalHost + host
}

// cutURI cuts a URI around its host and port: "sip:1001@", "192.0.2.7:5060", ";transport=tcp".
func cutURI(uri string) (user, host, rest string, ok bool) {
	begin := strings.IndexByte(uri, ':') + 1
	if begin == 0 {
		return "", "", "", false
	}
	end := len(uri)
	at := strings.IndexByte(uri, '@')
	if at >= begin {
		begin = at + 1
	}
	if i := strings.IndexAny(uri[begin:], ";?"); i >= 0 {
		end = begin + i
	}
	return uri[:begin], uri[begin:end], uri[end:], end > begin
}

func hasPort(host string) bool {
	_, _, err := net.SplitHostPort(host)
	return err == nil
}

// canonical is the binding as Lookup will tell it.
func canonical(b *location.Binding) *location.Binding {
	c := *b
	c.Contact, c.Received = fromAsterisk(toAsterisk(b))
	return &c
}

// contactID is what res_pjsip_registrar.c names a contact.
func contactID(aor, uri string) string {
	sum := md5.Sum([]byte(uri)) //nolint:gosec // a name
	return aor + ";@" + hex.EncodeToString(sum[:])
}
