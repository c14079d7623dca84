package location

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// uri is a SIP URI in its parts (RFC 3261 19.1.1).
type uri struct {
	scheme string // in small letters
	user   string // in one form: see plainUser
	host   string // in small letters, an IPv6 address in brackets
	port   string // empty if there is none
	params string // without the first semicolon
	rest   string // headers
}

var errNoURI = errors.New("no SIP URI")

// AOR gives the address of record that a URI means (RFC 3261 10.3, step 5): user and host, without scheme, port, password and parameters.
// The host is in small letters. The user stays as it is, but for characters that are escaped for no reason: "sip:" and an AOR make a URI
// again.
func AOR(s string) (string, error) {
	u, err := parseURI(s)
	if err != nil {
		return "", err
	}
	if u.user == "" {
		return u.host, nil
	}
	return u.user + "@" + u.host, nil
}

func parseURI(s string) (u uri, err error) {
	scheme, s, ok := strings.Cut(s, ":")
	u.scheme = strings.ToLower(scheme)
	if !ok || u.scheme != "sip" && u.scheme != "sips" {
		return uri{}, errNoURI
	}
	if user, host, ok := strings.Cut(s, "@"); ok {
		user, _, _ = strings.Cut(user, ":") // the password
		u.user, s = plainUser(user), host
	}
	s, u.rest, _ = strings.Cut(s, "?")
	s, u.params, _ = strings.Cut(s, ";")
	s = strings.TrimRight(s, " ")
	u.host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		u.host, u.port = s[:i], s[i+1:]
	}
	u.host = strings.ToLower(u.host)
	if !isHost(u.host) || strings.Trim(u.port, "0123456789") != "" {
		return uri{}, errNoURI
	}
	return u, nil
}

// isHost lets pass whatever may be a name or an address, in small letters.
func isHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		_, err := netip.ParseAddr(inner)
		return ok && err == nil
	}
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

const hexDigits = "0123456789ABCDEF"

// plainUser undoes escapes that say nothing, so that one user has one name. Others stay: of what would end the user, of spaces, of
// quotation marks and brackets, and of whatever is not ASCII.
func plainUser(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := strings.IndexByte(hexDigits, upper(s[i+1])), strings.IndexByte(hexDigits, upper(s[i+2]))
			if high >= 0 && low >= 0 {
				if c := byte(high<<4 | low); c > ' ' && c < 0x7f && !strings.ContainsRune(`%@:<>"\`, rune(c)) {
					b.WriteByte(c)
				} else {
					b.Write([]byte{'%', hexDigits[high], hexDigits[low]})
				}
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// maxSorted is how many parameters a URI may have whose order does not matter. Nobody has more but to make work.
const maxSorted = 16

// canonical gives one form to URIs that mean the same, as far as registrars go: it holds that a parameter that one alone has makes a
// difference. What is no SIP URI stays as it is.
func canonical(s string) string {
	u, err := parseURI(s)
	if err != nil {
		return s
	}
	params := strings.ToLower(u.params)
	if n := strings.Count(params, ";"); n > 0 && n < maxSorted {
		list := strings.Split(params, ";")
		slices.Sort(list)
		params = strings.Join(list, ";")
	}
	return u.scheme + ":" + u.user + "@" + u.host + ":" + u.port + ";" + params + "?" + u.rest
}

// hop is where a request to a URI goes to: address, port and transport. ok is false where only the DNS knows.
func hop(s string) (to netip.AddrPort, transport string, ok bool) {
	u, err := parseURI(s)
	if err != nil {
		return to, "", false
	}
	host, err := netip.ParseAddr(strings.Trim(u.host, "[]"))
	if err != nil {
		return to, "", false
	}
	if transport = uriTransport(s); transport == "" {
		transport = "udp"
	}
	port, err := strconv.ParseUint(u.port, 10, 16)
	switch {
	case u.port != "":
	case transport == "tls" || transport == "wss":
		port, err = 5061, nil
	default:
		port, err = 5060, nil
	}
	return netip.AddrPortFrom(host.Unmap(), uint16(port)), transport, err == nil
}
