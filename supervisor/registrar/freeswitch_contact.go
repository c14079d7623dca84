package registrar

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// parseRegistrations reads what "sofia xmlstatus profile ... user ..." prints (mod_sofia.c: show_reg_callback_xml). It goes by lines, as
// it was written: the Call-ID is not escaped, and a phone could choose one that looks like elements to whoever reads it as XML.
func parseRegistrations(text, aor string, now time.Duration) []location.Binding {
	var bindings []location.Binding
	var b location.Binding
	var user string
	seconds := 0
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		switch line {
		case "<registration>":
			b, user, seconds = location.Binding{Q: location.NoQ, Methods: location.AllMethods}, "", 0
		case "</registration>":
			if user == aor && b.Contact != "" && seconds > 0 {
				b.Expires = now + time.Duration(seconds)*time.Second
				bindings = append(bindings, b)
			}
		}
		if v, ok := element(line, "call-id"); ok {
			b.CallID = v
		} else if v, ok := element(line, "user"); ok {
			user = v
		} else if v, ok := element(line, "contact"); ok {
			b.Contact, b.Received, b.Path = fromFreeSWITCH(ampDecoder.Replace(v))
		} else if v, ok := element(line, "agent"); ok {
			if b.UserAgent = ampDecoder.Replace(v); b.UserAgent == "unknown" {
				b.UserAgent = ""
			}
		} else if v, ok := element(line, "status"); ok {
			seconds = secondsLeft(v)
		}
	}
	return bindings
}

func element(line, name string) (string, bool) {
	value, ok := strings.CutPrefix(line, "<"+name+">")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(value, "</"+name+">")
}

// secondsLeft reads "Registered(UDP)(unknown) exp(2026-08-21 19:10:14) expsecs(3599)".
func secondsLeft(status string) int {
	i := strings.LastIndex(status, "expsecs(")
	if i < 0 {
		return 0
	}
	digits, _, _ := strings.Cut(status[i+len("expsecs("):], ")")
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// ampDecoder undoes switch_utils.c: switch_amp_encode.
var ampDecoder = strings.NewReplacer("&quot;", `"`, "&apos;", "'", "&amp;", "&", "&lt;", "<", "&gt;", ">")

const (
	behindNAT = ";fs_nat=yes"
	routePath = ";fs_path="
)

// fromFreeSWITCH takes the Contact that sofia_reg.c keeps apart: "name" <sip:1001@10.0.0.7:5060;fs_nat=yes;fs_path=sip%3A1001%40203.0.113.9%3A31987>.
// fs_path is the Path, or else, behind NAT, the URI of where the REGISTER came from.
func fromFreeSWITCH(s string) (contact, received, path string) {
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		s = s[i+1:]
		end := strings.IndexByte(s, '>')
		if end < 0 {
			return "", "", "" // too long to be told whole
		}
		s = s[:end]
	}
	uri, encoded, ok := strings.Cut(s, routePath)
	if encoded, more, _ := strings.Cut(encoded, ";"); ok {
		via, err := url.PathUnescape(encoded)
		if err != nil || !plain(via) {
			return "", "", ""
		}
		if more != "" {
			uri += ";" + more
		}
		if strings.HasPrefix(via, "<") {
			path = via
		} else if _, seen, rest, ok := cutURI(via); ok {
			scheme, _, _ := strings.Cut(via, ":")
			received = scheme + ":" + seen
			if t := parameter(rest, "transport"); t != "" {
				received += ";transport=" + t
			}
		}
	}
	before, after, nat := strings.Cut(uri, behindNAT)
	if nat {
		uri = before + after
	}
	return uri, received, path
}

// toFreeSWITCH is the Contact that sofia_reg.c would have kept.
func toFreeSWITCH(b *location.Binding) string {
	s := b.Contact
	if b.Received != "" {
		s += behindNAT
	}
	switch {
	case b.Path != "":
		s += routePath + eslEscape(b.Path)
	case b.Received != "":
		s += routePath + eslEscape(natURI(b))
	}
	return `"" <` + s + ">"
}

// natURI is how sofia_reg.c writes where a REGISTER came from: the user and the parameters of the Contact with that address.
func natURI(b *location.Binding) string {
	user, _, rest, ok := cutURI(b.Contact)
	_, seen, _, okReceived := cutURI(b.Received)
	if !ok || !okReceived {
		return b.Received
	}
	return user + seen + rest
}

// eslEscape escapes as switch_utils.c: switch_url_encode.
func eslEscape(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte("\r\n #%&+:;<=>?@[\\]^`{|}\"", c) >= 0 {
			out.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// networkAddress is where the REGISTER came from, as far as it is known.
func networkAddress(b *location.Binding) (ip, port string) {
	for _, uri := range []string{b.Received, strings.TrimPrefix(b.Path, "<"), b.Contact} {
		_, host, _, _ := cutURI(uri)
		host, _, _ = strings.Cut(host, ">")
		if at, err := netip.ParseAddrPort(host); err == nil {
			return at.Addr().String(), strconv.Itoa(int(at.Port()))
		}
		if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			return addr.String(), "5060"
		}
	}
	return "0.0.0.0", "0"
}
