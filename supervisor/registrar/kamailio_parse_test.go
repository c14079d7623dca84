package registrar

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/understudy-sip/understudy/supervisor/location"
)

const pushExample = "CS1 %41lice@Ex.net\r\nt=1000\r\na=0\r\ni=call\r\ns=7\r\nn=1\r\nc=sip:a@127.0.0.9\r\ne=1600\r\nq=700\r\ni=c1\r\ns=6\r\nu=Phone\r\n  folded\r\n" +
	"r=sip:127.0.0.1:9\r\np=<sip:p;lr>\r\nk=udp:127.0.0.1:5060\r\nI=<urn:x>\r\nR=2\r\nf=1\r\nb=64\r\nm=4294967295\r\n"

// The format of the route is read whole or not at all.
func TestParsePush(t *testing.T) {
	got, err := parsePush([]byte(pushExample))
	want := &kamailioPush{aor: "%41lice@Ex.net", callID: "call", cseq: 7, count: 1, bindings: []location.Binding{{
		Contact: "sip:a@127.0.0.9", Q: 700, CallID: "c1", CSeq: 6, UserAgent: "Phone folded", Received: "sip:127.0.0.1:9", Path: "<sip:p;lr>",
		Socket: "udp:127.0.0.1:5060", Instance: "<urn:x>", RegID: 2, Flags: 1, Branch: 64, Methods: location.AllMethods, Expires: 600 * time.Second,
	}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, s := range map[string]string{
		"nothing": "", "other version": strings.Replace(pushExample, "CS1", "CS2", 1), "no address": strings.Replace(pushExample, "%41lice@Ex.net", "", 1),
		"no user": strings.Replace(pushExample, "%41lice", "", 1), "no domain": strings.Replace(pushExample, "Ex.net", "", 1),
		"cut": pushExample[:len(pushExample)-1], "cut before": pushExample[:100], "no clock": strings.Replace(pushExample, "t=1000\r\n", "", 1),
		"no count": strings.Replace(pushExample, "n=1\r\n", "", 1), "other count": strings.Replace(pushExample, "n=1", "n=2", 1),
		"negative": strings.Replace(pushExample, "s=6", "s=-6", 1), "large": strings.Replace(pushExample, "s=6", "s=4294967296", 1),
		"q above 1": strings.Replace(pushExample, "q=700", "q=1001", 1), "bad UTF-8": strings.Replace(pushExample, "Phone", "\xff", 1),
		"bare return": strings.Replace(pushExample, "Phone", "a\rb", 1), "zero": strings.Replace(pushExample, "Phone", "\x00", 1),
		"no name": strings.Replace(pushExample, "q=700", "700", 1), "long name": strings.Replace(pushExample, "q=700", "qq=700", 1),
		"too many": strings.Replace(pushExample, "n=1\r\n", "n=33\r\n", 1) + strings.Repeat("c=x\r\n", 32),
	} {
		if got, err := parsePush([]byte(s)); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// The name is as usrloc calls it, whatever the REGISTER says.
func TestKamailioPush_key(t *testing.T) {
	for _, c := range []struct {
		aor           string
		caseSensitive bool
		domains       bool
		want          string
	}{
		{"Alice@Ex.Net", false, true, "alice@ex.net"},
		{"Alice@Ex.Net", true, true, "Alice@ex.net"},
		{"Alice@Ex.Net", false, false, "alice"},
		{"Alice@Ex.Net", true, false, "Alice"},
		{"a@b@Ex.Net", false, true, "a@b@ex.net"},
		{"ÄÖ@Ex.Net", false, true, "ÄÖ@ex.net"},
	} {
		p := kamailioPush{aor: c.aor, caseSensitive: c.caseSensitive}
		if got := p.key(c.domains); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// Whatever comes, what is taken is bounded and is text.
func FuzzParsePush(f *testing.F) {
	f.Add([]byte(pushExample))
	f.Add([]byte("CS1 a@b\r\nt=1\r\nn=0\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePush(data)
		if err != nil {
			return
		}
		if len(p.aor) > pushAOR || len(p.bindings) > pushBindings || !utf8.ValidString(p.key(true)) || strings.ContainsAny(p.aor+p.callID, "\r\n\x00") {
			t.Errorf("got %+v", p)
		}
		for i := range p.bindings {
			b := &p.bindings[i]
			if strings.ContainsAny(b.Contact+b.CallID+b.UserAgent+b.Received+b.Path+b.Socket+b.Instance, "\r\n\x00") || b.Q < location.NoQ || b.Q > 1000 {
				t.Errorf("got %+v", b)
			}
		}
	})
}

const recordExample = `{"AoR":"a@b","Contacts":[{"Contact":{"Address":"sip:a@127.0.0.9","Expires":600,"Q":0.700000,"Call-ID":"c1","CSeq":-2147483648,` +
	`"User-Agent":"A &b\r\n  folded","Received":"sip:127.0.0.1:9","Path":"<sip:p;lr>","State":"CS_NEW","Flags":1,"CFlags":64,"Socket":"udp:127.0.0.1:5060",` +
	`"Methods":-1,"Ruid":"uloc-1","Instance":"<urn:x>","Reg-Id":2,"Server-Id":0,"Tcpconn-Id":-1,"Last-Modified":1}}]}`

// The words for nothing, both kinds of q, all kinds of expiry, numbers with a sign that they should not have.
func TestKamailioRecord(t *testing.T) {
	full := location.Binding{
		Contact: "sip:a@127.0.0.9", Q: 700, CallID: "c1", CSeq: 1 << 31, UserAgent: "A &b folded", Received: "sip:127.0.0.1:9", Path: "<sip:p;lr>",
		Socket: "udp:127.0.0.1:5060", Instance: "<urn:x>", RegID: 2, Flags: 1, Branch: 64, Methods: location.AllMethods, Expires: 610 * time.Second,
	}
	for _, c := range []struct {
		name, from, to string
		change         func(*location.Binding)
	}{
		{"as it is", "", "", func(*location.Binding) {}},
		{"q is whole", "0.700000", "1", func(b *location.Binding) { b.Q = 1000 }},
		{"q is small", "0.700000", "0.001000", func(b *location.Binding) { b.Q = 1 }},
		{"no q", "0.700000", "-1", func(b *location.Binding) { b.Q = location.NoQ }},
		{"no q, with a fraction", "0.700000", "-1.000000", func(b *location.Binding) { b.Q = location.NoQ }},
		{"no received", `"sip:127.0.0.1:9"`, `"[not set]"`, func(b *location.Binding) { b.Received = "" }},
		{"no instance", `"<urn:x>"`, `"[not set]"`, func(b *location.Binding) { b.Instance, b.RegID = "", 0 }},
		{"no agent", `"A &b\r\n  folded"`, `"n/a"`, func(b *location.Binding) { b.UserAgent = "" }},
		{"permanent", `600`, `"permanent"`, func(b *location.Binding) { b.Expires = permanent }},
		{"a number for a string", `"c1"`, `7`, func(b *location.Binding) { b.CallID = "" }},
		{"a string for a number", `"Reg-Id":2`, `"Reg-Id":"3"`, func(b *location.Binding) { b.RegID = 3 }},
		{"deleted", `600`, `"deleted"`, nil},
		{"expired", `600`, `"expired"`, nil},
		{"overdue", `600`, `-3`, nil},
		{"without a Contact", `"sip:a@127.0.0.9"`, `""`, nil},
	} {
		var r kamailioRecord
		if err := json.Unmarshal([]byte(strings.Replace(recordExample, c.from, c.to, 1)), &r); err != nil {
			t.Fatal(err)
		}
		var want []location.Binding
		if c.change != nil {
			b := full
			c.change(&b)
			want = append(want, b)
		}
		if got := r.bindings(10 * time.Second); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, want)
		}
	}
}

// An answer to another question, or none at all, is never taken for ours.
func TestParseRPC(t *testing.T) {
	for s, want := range map[string]bool{
		`{"jsonrpc":"2.0","result":{},"id":7}`: true, `{"jsonrpc":"2.0","error":{"code":500,"message":"no"},"id":7}`: true, `{"id":7}`: true,
		`{"jsonrpc":"2.0","result":{},"id":8}`: false, `{"jsonrpc":"2.0","result":{}}`: false, `{"result":{},"id":"7"}`: false,
		``: false, `[]`: false, `{"result":{},"id":7`: false, `null`: false,
	} {
		if _, ours, _ := parseRPC([]byte(s), 7); ours != want {
			t.Errorf("%s: got %v", s, ours)
		}
	}
}

func FuzzKamailioRecord(f *testing.F) {
	f.Add([]byte(recordExample))
	f.Add([]byte(`{"Contacts":[{"Contact":{"Address":"x","Expires":1,"Q":1e300,"CSeq":"NaN","Methods":{}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r kamailioRecord
		if json.Unmarshal(data, &r) != nil {
			return
		}
		for _, b := range r.bindings(time.Hour) {
			if b.Contact == "" || b.Q < location.NoQ || b.Q > 1000 || b.Expires < time.Hour || b.Instance == "" && b.RegID != 0 {
				t.Errorf("got %+v", b)
			}
		}
	})
}

// What is written is one message, whatever a binding holds: each line is one of ours.
func FuzzKamailioRegistration(f *testing.F) {
	f.Add("a b", "sip:x@y", "c", "ua", "sip:r", "<sip:p;lr>", "udp:1.2.3.4:5", "<urn:x>")
	f.Add("a\r\nX: y", "sip:x@y>\r\n", "c\n", "u\x00a", "sip:r\r\n", "<sip:p;lr>\r\nZ: z", "udp:1.2.3.4:5", "\"<urn:x>")
	f.Fuzz(func(t *testing.T, aor, contact, callID, agent, received, path, socket, instance string) {
		b := location.Binding{
			Contact: contact, Q: 1, CallID: callID, CSeq: 1, UserAgent: agent, Received: received, Path: path, Socket: socket, Instance: instance,
			RegID: 1, Branch: 64, Methods: 5, Expires: time.Minute,
		}
		kamailioForm(&b)
		if checkText("address of record", aor) != nil || checkBinding(&b) != nil {
			return
		}
		o := DefaultKamailioOptions()
		o.Now = func() time.Duration { return 0 }
		k, err := NewKamailio(o)
		if err != nil {
			t.Fatal(err)
		}
		r := k.registration(aor, kamailioStep{binding: b, seen: seenNone})
		request, err := r.octets(o.Replay, newBranch(), "")
		if err != nil {
			return
		}
		ours := []string{
			"REGISTER sip", "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Expires", "Path", "Supported", "User-Agent", "Allow",
			"X-CS-Seen", "X-CS-Key", "X-CS-Received", "X-CS-Sock", "X-CS-BFlags", "Content-Length", "",
		}
		lines := strings.FieldsFunc(string(request), func(r rune) bool { return r == '\r' || r == '\n' })
		seen := map[string]bool{}
		for _, line := range lines {
			name, _, _ := strings.Cut(line, ":")
			if !slices.Contains(ours, name) || seen[name] {
				t.Errorf("got the line %q", line)
			}
			seen[name] = true
		}
	})
}

// registrarModel does what Kamailio's registrar does with a REGISTER for one Contact (modules/registrar/save.c, modules/usrloc/urecord.c).
type registrarModel struct {
	contacts []location.Binding
	first    bool // new ones come first
}

// find gives the index that the registrar would take; -1 if none, -2 if it refuses.
func (m *registrarModel) find(b *location.Binding) int {
	for i, c := range m.contacts {
		switch {
		case b.Instance != "" && c.Instance == b.Instance && c.RegID == b.RegID:
			return i
		case b.Instance == "" && c.Contact == b.Contact:
			if c.CallID == b.CallID && b.CSeq <= c.CSeq {
				return -2
			}
			return i
		}
	}
	return -1
}

func (m *registrarModel) step(s kamailioStep) {
	for _, c := range m.contacts {
		if c.Key() == s.binding.Key() {
			if s.seen != kamailioSeen(&c) {
				return
			}
			break
		}
	}
	b := s.binding
	if s.remove {
		b.CSeq++
	}
	switch i := m.find(&b); {
	case i == -2 || i == -1 && s.remove:
	case i == -1 && m.first:
		m.contacts = slices.Insert(m.contacts, 0, b)
	case i == -1:
		m.contacts = append(m.contacts, b)
	case s.remove:
		m.contacts = slices.Delete(m.contacts, i, i+1)
	default:
		old := m.contacts[i]
		m.contacts[i] = b
		if b.Instance != "" && old.CallID != b.CallID {
			m.contacts = slices.DeleteFunc(m.contacts, func(c location.Binding) bool { return c.Instance == b.Instance && c.Key() != b.Key() })
		}
	}
}

// Whatever a server has and whatever it should have, of one URI or several, with instances and without: it has it after few rounds, but
// for what is newer, which is never overwritten.
func FuzzKamailioPlan(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{4, 5, 6}, true)
	f.Add([]byte("\x0522F\x8c"), []byte("A1c81"), false) // a new Call-ID for one flow of an instance, another flow that is newer
	f.Add([]byte{0, 1, 2, 3, 4, 5}, []byte{7, 70, 140, 211}, false)
	bindings := func(data []byte) []location.Binding {
		var all []location.Binding
		for _, d := range data[:min(len(data), 6)] {
			x := int(d)
			pick := func(n int) int { v := x % n; x /= n; return v }
			b := location.Binding{Contact: []string{"sip:1", "sip:2"}[pick(2)], Instance: []string{"", "a", "b"}[pick(3)], RegID: uint32(pick(2)), Expires: 1000 * time.Second}
			b.CallID, b.CSeq, b.Q = []string{"x", "y"}[pick(2)], uint32(1+pick(3)), pick(2)
			kamailioForm(&b)
			if !slices.ContainsFunc(all, func(o location.Binding) bool { return o.Key() == b.Key() }) {
				all = append(all, b)
			}
		}
		return all
	}
	f.Fuzz(func(t *testing.T, a, b []byte, first bool) {
		m := &registrarModel{contacts: bindings(a), first: first}
		before, want := slices.Clone(m.contacts), bindings(b)
		p := kamailioPlan{minExpires: time.Minute, changed: map[string]bool{}}
		for range applyRounds - 1 {
			for _, s := range p.steps(slices.Clone(m.contacts), want) {
				m.step(s)
			}
		}
		if steps := p.steps(m.contacts, want); len(steps) > 0 && !p.newer {
			t.Errorf("from %+v\nto %+v\nleft %+v\nof %+v", before, want, steps, m.contacts)
		}
		for _, old := range before {
			for _, w := range want {
				if w.Key() == old.Key() && w.Older(&old) && !slices.Contains(m.contacts, old) {
					t.Errorf("%+v was overwritten by %+v\nfrom %+v\nto %+v\nleft %+v", old, w, before, want, m.contacts)
				}
			}
		}
	})
}
