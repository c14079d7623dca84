package registrar

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// message is what we need of a SIP answer.
type message struct {
	code      int
	reason    string
	branch    string // of the topmost Via
	challenge string
	contacts  []string // values of the Contact headers
	expires   string
}

const reasonLimit = 100 // octets of a reason phrase that we repeat to people

// parseMessage reads an answer. It is lenient in what does not concern us: that is the SIP server's own parser's business.
func parseMessage(data []byte) (message, bool) {
	head, _, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	first, rest, _ := strings.Cut(string(head), "\r\n")
	status, ok := strings.CutPrefix(first, "SIP/2.0 ")
	if !ok {
		return message{}, false
	}
	digits, reason, _ := strings.Cut(status, " ")
	code, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || code < 100 {
		return message{}, false
	}
	m := message{code: code, reason: printable(reason)}
	rest = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(rest) // folded lines (RFC 3261, 7.3.1)
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "via", "v":
			if m.branch == "" {
				m.branch = parameter(value, "branch")
			}
		case "www-authenticate", "proxy-authenticate":
			if m.challenge == "" {
				m.challenge = value
			}
		case "contact", "m":
			m.contacts = append(m.contacts, value)
		case "expires":
			m.expires = value
		}
	}
	return m, true
}

// parameter is the value of a header's parameter. Nothing that we look for is ever quoted.
func parameter(value, name string) string {
	for p := range strings.SplitSeq(value, ";") {
		key, v, ok := strings.Cut(p, "=")
		if ok && strings.EqualFold(strings.TrimSpace(key), name) {
			v, _, _ = strings.Cut(strings.TrimSpace(v), ",")
			return v
		}
	}
	return ""
}

// answer is the message as the answer to a REGISTER.
func (m message) answer(r registration) answer {
	return answer{code: m.code, reason: m.reason, granted: m.granted(r.binding.Contact)}
}

// granted is how long the binding of this Contact lives (RFC 3261, 10.2.4); -1 if the answer does not name it.
func (m message) granted(contact string) time.Duration {
	if contact == "" {
		return -1
	}
	for _, c := range m.contacts {
		_, rest, ok := strings.Cut(c, "<"+contact+">")
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, "<") // what follows belongs to the next Contact
		seconds := parameter(rest, "expires")
		if seconds == "" {
			seconds = m.expires
		}
		if n, err := strconv.Atoi(seconds); err == nil && n >= 0 && n < 1<<31 {
			return time.Duration(n) * time.Second
		}
		return -1
	}
	return -1
}

// printable is text of the server as it may be shown to people: one line, not too long.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), reasonLimit)], "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
