package registrar

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// registration is a REGISTER for one binding.
type registration struct {
	aor      string // with a domain
	binding  location.Binding
	seconds  int            // 0 removes the binding
	sender   netip.AddrPort // whom the Via names; the zero value: the socket itself
	headers  [][2]string    // what our own snippet in the server's configuration reads; those without a value are left out
	methods  []string       // what each bit of Methods means to this server; nil: it keeps none
	username string         // of the digest credentials; empty: none
	password string
}

func (r *registration) uri() string {
	_, domain, _ := strings.Cut(r.aor, "@")
	return "sip:" + domain
}

const requestLimit = 60 << 10 // what fits into one datagram, with room to spare

// octets is the request. A field that could end its header and begin another is refused. Errors name no fields: they are personal data.
func (r *registration) octets(from netip.AddrPort, branch, credentials string) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.sender.IsValid() {
		from = r.sender
	}
	b := &r.binding
	var s strings.Builder
	line := func(name, value string) {
		if value != "" {
			s.WriteString(name + ": " + value + "\r\n")
		}
	}
	s.WriteString("REGISTER " + r.uri() + " SIP/2.0\r\n")
	line("Via", "SIP/2.0/UDP "+from.String()+";branch="+branch+";rport")
	line("Max-Forwards", "70")
	line("From", "<sip:"+r.aor+">;tag="+branch[len(branch)-8:])
	line("To", "<sip:"+r.aor+">")
	line("Call-ID", b.CallID)
	line("CSeq", strconv.FormatUint(uint64(b.CSeq), 10)+" REGISTER")
	line("Contact", r.contact())
	line("Expires", strconv.Itoa(r.seconds))
	line("Path", b.Path)
	if b.Path != "" || b.RegID != 0 {
		line("Supported", "path, outbound")
	}
	line("User-Agent", b.UserAgent)
	line("Allow", r.allow())
	for _, h := range r.headers {
		line(h[0], h[1])
	}
	s.WriteString(credentials)
	s.WriteString("Content-Length: 0\r\n\r\n")
	if s.Len() > requestLimit {
		return nil, fmt.Errorf("register: the request would have %d octets", s.Len())
	}
	return []byte(s.String()), nil
}

func (r *registration) contact() string {
	b := &r.binding
	s := "<" + b.Contact + ">;expires=" + strconv.Itoa(r.seconds)
	if b.Q >= 0 {
		s += ";q=" + formatQ(b.Q)
	}
	if b.Instance != "" {
		s += `;+sip.instance="` + b.Instance + `"`
	}
	if b.RegID != 0 {
		s += ";reg-id=" + strconv.FormatUint(uint64(b.RegID), 10)
	}
	return s
}

func (r *registration) allow() string {
	if r.methods == nil || r.binding.Methods == location.AllMethods {
		return ""
	}
	var names []string
	for bit, name := range r.methods {
		if name != "" && r.binding.Methods&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (r *registration) check() error {
	b := &r.binding
	user, domain, ok := strings.Cut(r.aor, "@")
	if !ok || user == "" || domain == "" || strings.ContainsAny(r.aor, "<>\" \t,;?") {
		return errors.New("register: no address of record with a domain")
	}
	if b.CallID == "" || strings.ContainsAny(b.CallID, " \t") {
		return errors.New("register: no Call-ID, or one with spaces")
	}
	if b.Contact == "" || strings.ContainsAny(b.Contact, "<>\" \t") {
		return errors.New("register: the Contact is no URI")
	}
	if strings.ContainsAny(b.Instance, "\"\\") {
		return errors.New("register: the instance has quotes")
	}
	fields := []string{r.aor, b.CallID, b.Contact, b.Instance, b.Path, b.UserAgent}
	for _, h := range r.headers {
		fields = append(fields, h[1])
	}
	if slices.ContainsFunc(fields, func(s string) bool { return !plain(s) }) {
		return errors.New("register: a field would end its header")
	}
	return nil
}

// plain reports whether s has none of the octets that end a line or a string.
func plain(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }

// formatQ writes a q value of thousandths (RFC 3261, 25.1: qvalue).
func formatQ(q int) string {
	if q >= 1000 {
		return "1.0"
	}
	return fmt.Sprintf("0.%03d", q)
}
