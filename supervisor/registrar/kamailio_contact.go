package registrar

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// permanent is when a binding ends that an operator made by hand to last for ever.
const permanent = time.Duration(1 << 62)

// forever is longer than any phone can ask for (RFC 3261, 20.19: 32 bits of seconds would be 136 years, Kamailio counts to 2038 and on).
const forever = 50 * 365 * 24 * time.Hour

// kamailioNumber is a number as the server's commands write it: bare, with a fraction, or in quotes.
type kamailioNumber float64

// UnmarshalJSON takes what is no number for 0: it is one field of many.
func (n *kamailioNumber) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<53 {
		f = 0
	}
	*n = kamailioNumber(f)
	return nil
}

// bits is the number as the 32 bits that it was: some are written as if they had a sign.
func (n kamailioNumber) bits() uint32 { return uint32(int64(n)) }

// kamailioText is a string as the server's commands write it.
type kamailioText string

// UnmarshalJSON takes the words for nothing and anything but a string for nothing, and unfolds lines.
func (t *kamailioText) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) != nil || s == "[not set]" {
		s = ""
	}
	*t = kamailioText(unfold(s))
	return nil
}

// folding is where a header's value goes on in the next line (RFC 3261, 7.3.1).
var folding = regexp.MustCompile(`[ \t]*\r\n[ \t]+`)

// unfold makes one line of it.
func unfold(s string) string {
	if !strings.Contains(s, "\r\n") {
		return s
	}
	return folding.ReplaceAllLiteralString(s, " ")
}

// kamailioContact is what ul.lookup says of one binding.
type kamailioContact struct {
	Address   kamailioText    `json:"Address"`
	Expires   json.RawMessage `json:"Expires"`
	Q         kamailioNumber  `json:"Q"`
	CallID    kamailioText    `json:"Call-ID"`
	CSeq      kamailioNumber  `json:"CSeq"`
	UserAgent kamailioText    `json:"User-Agent"`
	Received  kamailioText    `json:"Received"`
	Path      kamailioText    `json:"Path"`
	Flags     kamailioNumber  `json:"Flags"`
	CFlags    kamailioNumber  `json:"CFlags"`
	Socket    kamailioText    `json:"Socket"`
	Methods   kamailioNumber  `json:"Methods"`
	Instance  kamailioText    `json:"Instance"`
	RegID     kamailioNumber  `json:"Reg-Id"`
}

// kamailioRecord is what it says of an address of record.
type kamailioRecord struct {
	Contacts []struct {
		Contact kamailioContact `json:"Contact"`
	} `json:"Contacts"`
}

func (r *kamailioRecord) bindings(now time.Duration) []location.Binding {
	var all []location.Binding
	for i := range r.Contacts {
		if b, ok := r.Contacts[i].Contact.binding(now); ok {
			all = append(all, b)
		}
	}
	return all
}

// binding is false for one that is no longer there: "deleted" or "expired".
func (c *kamailioContact) binding(now time.Duration) (location.Binding, bool) {
	var expires time.Duration
	switch left := strings.Trim(string(c.Expires), `"`); left {
	case "permanent":
		expires = permanent
	default:
		seconds, err := strconv.ParseUint(left, 10, 31)
		if err != nil || c.Address == "" {
			return location.Binding{}, false
		}
		expires = now + time.Duration(seconds)*time.Second
	}
	q := location.NoQ
	if c.Q >= 0 && c.Q <= 1 {
		q = int(math.Round(float64(c.Q) * 1000))
	}
	b := location.Binding{
		Contact: string(c.Address), Q: q, CallID: string(c.CallID), CSeq: c.CSeq.bits(), UserAgent: string(c.UserAgent),
		Received: string(c.Received), Path: string(c.Path), Socket: string(c.Socket), Instance: string(c.Instance), RegID: c.RegID.bits(),
		Flags: c.Flags.bits(), Branch: c.CFlags.bits(), Methods: c.Methods.bits(), Expires: expires,
	}
	kamailioForm(&b)
	return b, true
}

// kamailioAgent bounds a User-Agent: registrar keeps the word for none instead of a longer one (core/config.h: MAX_UA_SIZE).
const kamailioAgent = 255

// kamailioForm makes the binding what Kamailio would make of it, so that two that are stored alike look alike.
func kamailioForm(b *location.Binding) {
	if b.UserAgent == "n/a" || len(b.UserAgent) >= kamailioAgent {
		b.UserAgent = ""
	}
	if b.Instance == "" {
		b.RegID = 0
	}
}

// kamailioMethods are the names of the bits of Methods (core/parser/msg_parser.h). The last stands for any other.
var kamailioMethods = []string{
	"INVITE", "CANCEL", "ACK", "BYE", "INFO", "REGISTER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "OPTIONS", "PRACK", "UPDATE", "REFER",
	"PUBLISH", "KDMQ", "GET", "POST", "PUT", "DELETE", "OTHER",
}

// checkText reports what can't be part of a message: it would end its line, or is no text at all.
func checkText(what, s string) error {
	for _, r := range s {
		if r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError {
			return fmt.Errorf("the %s has an octet that no header can have", what)
		}
	}
	return nil
}
