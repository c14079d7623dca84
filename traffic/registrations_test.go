package traffic

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// learner is an observer that takes registrations without a network.
type learner struct {
	*observer
	got []location.Registration
	at  time.Duration
}

func newLearner() *learner {
	l := &learner{at: time.Second}
	o := standard()
	o.Registered = func(r location.Registration) { l.got = append(l.got, r) }
	l.observer = newObserver(o)
	return l
}

const (
	phoneAt  = "10.77.0.2:5060"
	serverAt = "10.77.0.1:5060"
)

// in gives the server a message from the network, a millisecond after the one before.
func (l *learner) in(text, from string, change ...func(*Meta)) {
	l.pass(text, from, serverAt, true, change)
}

// out has the server send one.
func (l *learner) out(text, to string, change ...func(*Meta)) {
	l.pass(text, serverAt, to, false, change)
}

func (l *learner) pass(text, from, to string, in bool, change []func(*Meta)) {
	l.at += time.Millisecond
	meta := Meta{From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort(to), In: in, At: l.at}
	for _, f := range change {
		f(&meta)
	}
	l.message([]byte(text), meta)
}

func over(transport Transport) func(*Meta) { return func(m *Meta) { m.Transport = transport } }

// registerText makes a REGISTER of sip:bob@example.net with more header lines.
func registerText(id string, cseq int, headers ...string) string {
	return "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP 10.77.0.2:5060;branch=z9hG4bK" + id + fmt.Sprint(cseq) + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:bob@example.net>;tag=" + id + "\r\nTo: <sip:bob@example.net>\r\nCall-ID: " + id + "\r\n" +
		fmt.Sprintf("CSeq: %d REGISTER\r\n", cseq) + lines(headers) + "Content-Length: 0\r\n\r\n"
}

// registeredText makes the answer to what registerText made.
func registeredText(status int, id string, cseq int, headers ...string) string {
	return fmt.Sprintf("SIP/2.0 %d Whatever\r\n", status) + "Via: SIP/2.0/UDP 10.77.0.2:5060;branch=z9hG4bK" + id + fmt.Sprint(cseq) + ";rport=5060\r\n" +
		"From: <sip:bob@example.net>;tag=" + id + "\r\nTo: <sip:bob@example.net>;tag=server\r\nCall-ID: " + id + "\r\n" +
		fmt.Sprintf("CSeq: %d REGISTER\r\n", cseq) + lines(headers) + "Content-Length: 0\r\n\r\n"
}

func lines(headers []string) string {
	if len(headers) == 0 {
		return ""
	}
	return strings.Join(headers, "\r\n") + "\r\n"
}

// What REGISTERs and their answers say, however they are written.
func TestRegistrations_read(t *testing.T) {
	none := location.Contact{Q: location.NoQ, Expires: location.Unsaid}
	contact := func(uri string, expires time.Duration, change ...func(*location.Contact)) location.Contact {
		c := none
		c.URI, c.Expires = uri, expires*time.Second
		for _, f := range change {
			f(&c)
		}
		return c
	}
	list := func(c ...location.Contact) []location.Contact { return c }
	unsaid := func(c *location.Contact) { c.Expires = location.Unsaid }
	const a = "sip:bob@10.77.0.2:5060"
	for name, test := range map[string]struct {
		request, answer []string
		want            location.Registration
	}{
		"plain": {
			[]string{"Contact: <" + a + ">", "Expires: 600", "User-Agent: Phone 1.0"}, []string{"Contact: <" + a + ">;expires=300"},
			location.Registration{UserAgent: "Phone 1.0", Named: list(contact(a, 600)), Granted: list(contact(a, 300))},
		},
		"the answer's header": {
			[]string{"m: " + a}, []string{"Expires: 120", "m: " + a + ";q=0.7"},
			location.Registration{Named: list(contact(a, 0, unsaid)), Granted: list(contact(a, 120, func(c *location.Contact) { c.Q = 700 }))},
		},
		"nothing said": {
			[]string{"Contact: " + a}, []string{"Contact: " + a + ";expires=soon"},
			location.Registration{Named: list(contact(a, 0, unsaid)), Granted: list(contact(a, 3600))},
		},
		"several, folded, with everything": {
			[]string{
				"Path: <sip:edge1;lr>, <sip:edge2;lr;ob>", "User-Agent: Phone\r\n \t2.0", "Path: <sip:edge3;lr>",
				`Contact: "Bob, at home" <` + a + `;transport=tcp>;q=1.0;reg-id=2;+sip.instance="<urn:uuid:1>" , <sip:bob@10.77.0.3>;expires=0`,
			},
			[]string{
				"Contact: <" + a + ";transport=tcp>;expires=60;q=1;received=\"sip:203.0.113.9:31987;transport=tcp\";reg-id=2\r\n" +
					` ;+sip.instance="<urn:uuid:1>";pub-gruu="sip:bob@example.net;gr=urn:uuid:1";temp-gruu="sip:x@example.net;gr"`,
				"Contact: <sip:bob@10.77.0.4>;expires=77",
			},
			location.Registration{
				UserAgent: "Phone 2.0", Path: "<sip:edge1;lr>,<sip:edge2;lr;ob>,<sip:edge3;lr>",
				Named: list(contact(a+";transport=tcp", 0, unsaid, func(c *location.Contact) { c.Q, c.RegID, c.Instance = 1000, 2, "<urn:uuid:1>" }), contact("sip:bob@10.77.0.3", 0)),
				Granted: list(contact(a+";transport=tcp", 60, func(c *location.Contact) {
					c.Q, c.RegID, c.Instance, c.Received = 1000, 2, "<urn:uuid:1>", "sip:203.0.113.9:31987;transport=tcp"
				}), contact("sip:bob@10.77.0.4", 77)),
			},
		},
		"all removed": {[]string{"Contact: *", "Expires: 0"}, nil, location.Registration{All: true}},
		"one removed, none left or none told": {
			[]string{"Contact: <" + a + ">;expires=0"}, nil, location.Registration{Named: list(contact(a, 0)), Partial: true},
		},
		"accepted without a list": {
			[]string{"Contact: <" + a + ">, <sip:bob@10.77.0.3>;expires=50, <sip:bob@10.77.0.4>;expires=0"}, nil,
			location.Registration{
				Named:   list(contact(a, 0, unsaid), contact("sip:bob@10.77.0.3", 50), contact("sip:bob@10.77.0.4", 0)),
				Granted: list(contact(a, 3600), contact("sip:bob@10.77.0.3", 50)), Partial: true,
			},
		},
		"asked": {nil, []string{"Contact: <" + a + ">;expires=300"}, location.Registration{Granted: list(contact(a, 300))}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLearner()
			l.in(registerText("id", 5, test.request...), phoneAt)
			l.out(registeredText(200, "id", 5, test.answer...), phoneAt)
			test.want.AOR, test.want.CallID, test.want.CSeq, test.want.Transport, test.want.Socket = "bob@example.net", "id", 5, "udp", "udp:"+serverAt
			test.want.At = l.at
			if test.want.Path == "" {
				test.want.Received = "sip:" + phoneAt
			}
			if len(l.got) != 1 || !reflect.DeepEqual(l.got[0], test.want) {
				t.Errorf("got %+v\nwant %+v", l.got, test.want)
			}
			if s := l.snapshot(l.at); s.Registrations != 1 || s.RegistrationsRefused != 0 || len(l.registrations.pending) != 0 {
				t.Errorf("got %d registrations, %d refused, %d pending, want 1, 0, 0", s.Registrations, s.RegistrationsRefused, len(l.registrations.pending))
			}
		})
	}
}

// Only the final answer that goes back where the REGISTER came from counts, and only if it is a 2xx.
func TestRegistrations_answers(t *testing.T) {
	contact := "Contact: <sip:bob@10.77.0.2:5060>;expires=60"
	request, answer := registerText("id", 1, contact), registeredText(200, "id", 1, contact)
	natted := strings.ReplaceAll(request, "10.77.0.2:5060;branch", "192.168.1.2:5070;branch")
	for name, test := range map[string]struct {
		pass func(l *learner)
		want int
	}{
		"accepted": {func(l *learner) { l.in(request, phoneAt); l.out(answer, phoneAt) }, 1},
		"sent again": {func(l *learner) {
			l.in(request, phoneAt)
			l.in(request, phoneAt)
			l.out(answer, phoneAt)
			l.out(answer, phoneAt)
		}, 1},
		"not answered":    {func(l *learner) { l.in(request, phoneAt) }, 0},
		"not asked":       {func(l *learner) { l.out(answer, phoneAt) }, 0},
		"answered before": {func(l *learner) { l.out(answer, phoneAt); l.in(request, phoneAt) }, 0},
		"provisional, then yes": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(registeredText(100, "id", 1), phoneAt)
			l.out(answer, phoneAt)
		}, 1},
		"refused, then forged": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(registeredText(401, "id", 1), phoneAt)
			l.out(answer, phoneAt)
		}, 0},
		"too late":           {func(l *learner) { l.in(request, phoneAt); l.at += registerLife; l.out(answer, phoneAt) }, 0},
		"to a third address": {func(l *learner) { l.in(request, phoneAt); l.out(answer, "10.77.0.3:5060") }, 0},
		"to a third port":    {func(l *learner) { l.in(request, "10.77.0.2:40000"); l.out(answer, "10.77.0.2:40001") }, 0},
		"to the port of Via": {func(l *learner) { l.in(request, "10.77.0.2:40000"); l.out(answer, phoneAt) }, 1},
		"to the default port of Via": {func(l *learner) {
			l.in(strings.ReplaceAll(request, "10.77.0.2:5060;", "10.77.0.2;"), "10.77.0.2:40000")
			l.out(strings.ReplaceAll(answer, "10.77.0.2:5060;", "10.77.0.2;"), phoneAt)
		}, 1},
		"from a third address": {func(l *learner) {
			l.in(request, phoneAt)
			l.pass(answer, "10.77.0.3:5060", serverAt, true, nil)
			l.pass(answer, "10.77.0.3:5060", phoneAt, true, nil)
			l.pass(answer, serverAt, phoneAt, true, nil) // with our address, but from the network
		}, 0},
		"from our other address": {func(l *learner) { l.in(request, phoneAt); l.pass(answer, service+":5060", phoneAt, false, nil) }, 1},
		"from another port":      {func(l *learner) { l.in(request, phoneAt); l.pass(answer, "10.77.0.1:5070", phoneAt, false, nil) }, 0},
		"local": {func(l *learner) {
			local := func(m *Meta) { m.Local = true }
			l.in(request, serverAt, local)
			l.pass(answer, serverAt, serverAt, true, []func(*Meta){local})
		}, 0},
		"we ask another server": {func(l *learner) { l.out(request, phoneAt); l.in(answer, phoneAt) }, 0},
		"other branch": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(strings.Replace(answer, "z9hG4bKid", "z9hG4bKie", 1), phoneAt)
		}, 0},
		"other Via": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(strings.Replace(answer, "UDP 10.77.0.2", "UDP 10.77.0.3", 1), phoneAt)
		}, 0},
		"other Call-ID": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(strings.Replace(answer, "Call-ID: id", "Call-ID: ie", 1), phoneAt)
		}, 0},
		"other number": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(strings.Replace(answer, "CSeq: 1", "CSeq: 2", 1), phoneAt)
		}, 0},
		"other method": {func(l *learner) {
			l.in(request, phoneAt)
			l.out(strings.Replace(answer, "1 REGISTER", "1 OPTIONS", 1), phoneAt)
		}, 0},
		"one branch for all REGISTERs": {func(l *learner) {
			for i := range 3 {
				fix := strings.NewReplacer(fmt.Sprint("z9hG4bKid", i), "z9hG4bKsame").Replace
				l.in(fix(registerText("id", i, contact)), phoneAt)
				l.out(fix(registeredText(200, "id", i, contact)), phoneAt)
			}
		}, 3},
		"one branch for two under way": {func(l *learner) {
			l.in(request, phoneAt)
			l.in(registerText("id", 1, strings.ReplaceAll(contact, "bob", "eve")), phoneAt)
			l.out(answer, phoneAt)
			if l.got[0].Named[0].URI != "sip:bob@10.77.0.2:5060" {
				t.Errorf("got %+v, want what was asked first", l.got[0])
			}
		}, 1},
		"no branch at all": {func(l *learner) {
			fix := strings.NewReplacer(";branch=z9hG4bKid1", "").Replace
			l.in(fix(request), phoneAt)
			l.out(fix(strings.Replace(answer, "tag=id", "tag=other", 1)), phoneAt)
			l.out(fix(answer), phoneAt)
		}, 1},
		"two phones behind two NATs": {func(l *learner) {
			answer := strings.ReplaceAll(answer, "10.77.0.2:5060;branch", "192.168.1.2:5070;branch")
			l.in(natted, "203.0.113.1:1024")
			l.in(natted, "203.0.113.2:1024")
			l.out(answer, "203.0.113.2:1024")
			l.out(answer, "203.0.113.1:1024")
			if l.got[0].Received != "sip:203.0.113.2:1024" || l.got[1].Received != "sip:203.0.113.1:1024" {
				t.Errorf("got %+v", l.got)
			}
		}, 2},
		"TCP": {func(l *learner) {
			l.in(request, "10.77.0.2:40000", over(TCP))
			l.out(answer, phoneAt, over(TCP))
			l.pass(answer, service+":5060", "10.77.0.2:40000", false, []func(*Meta){over(TCP)})
			l.out(answer, "10.77.0.2:40000", over(UDP))
			l.out(answer, "10.77.0.2:40000", over(TCP))
			if l.got[0].Received != "sip:10.77.0.2:40000;transport=tcp" || l.got[0].Socket != "tcp:"+serverAt {
				t.Errorf("got %+v", l.got)
			}
		}, 1},
		"through a proxy": {func(l *learner) {
			l.in(strings.Replace(request, "Max-Forwards", "Via: SIP/2.0/UDP 192.168.1.2;branch=z9hG4bKphone\r\nMax-Forwards", 1), phoneAt)
			l.out(answer, phoneAt)
			if l.got[0].Received != "" {
				t.Errorf("got %+v, want no source", l.got)
			}
		}, 1},
		"WebSocket over TLS": {func(l *learner) {
			wss := strings.NewReplacer("2.0/UDP", "2.0/WSS").Replace
			l.in(wss(request), "10.77.0.2:40000", over(TLS))
			l.out(wss(answer), "10.77.0.2:40000", over(TLS))
			if l.got[0].Transport != "wss" {
				t.Errorf("got %+v", l.got)
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLearner()
			test.pass(l)
			if len(l.got) != test.want {
				t.Errorf("got %d registrations, want %d: %+v", len(l.got), test.want, l.got)
			}
		})
	}
}

// Answers that the server sends in another order than it works in neither resurrect a binding nor lose one.
func TestRegistrations_order(t *testing.T) {
	contact := func(n, expires int) string {
		return fmt.Sprintf("Contact: <sip:bob@10.77.0.%d>;expires=%d", n, expires)
	}
	l := newLearner()
	var have []location.Binding
	merge := func() {
		t.Helper()
		for _, r := range l.got {
			have = location.Merge(have, r, r.At)
		}
		l.got = nil
	}
	l.in(registerText("a", 1, contact(2, 60)), phoneAt)
	l.in(registerText("a", 2, contact(2, 0)), phoneAt)
	l.out(registeredText(200, "a", 2), phoneAt)
	l.out(registeredText(200, "a", 1, contact(2, 60)), phoneAt)
	if merge(); len(have) != 0 {
		t.Errorf("registered and removed, answered in reverse: got %+v, want none", have)
	}
	l.in(registerText("a", 3, contact(2, 60)), phoneAt)
	l.in(registerText("b", 1, contact(3, 60)), phoneAt)
	l.out(registeredText(200, "b", 1, contact(2, 60), contact(3, 60)), phoneAt)
	l.out(registeredText(200, "a", 3, contact(2, 60)), phoneAt)
	if merge(); len(have) != 2 || have[0].CallID != "a" || have[1].CallID != "b" {
		t.Errorf("two at once: got %+v, want both", have)
	}
	l.in(registerText("a", 4, contact(2, 60)), phoneAt)
	l.out(registeredText(200, "a", 4, contact(2, 60)), phoneAt)
	if merge(); len(have) != 1 {
		t.Errorf("one after the other: got %+v, want what the last answer lists", have)
	}
}

// What phones send to hurt is refused, or harmless.
func TestRegistrations_hostile(t *testing.T) {
	contact := "Contact: <sip:bob@10.77.0.2>;expires=60"
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, ",<a:%d>", i)
	}
	for name, pair := range map[string][2][]string{
		"10,000 contacts":                {{"m: <sip:x>" + many.String()[:60_000]}, {contact}},
		"10,000 contacts in the answer":  {{contact}, {"m: <sip:x>" + many.String()[:60_000]}},
		"200 contacts of two":            {{contact}, slices.Repeat([]string{contact}, 200)},
		"long Contact":                   {{"Contact: <sip:" + strings.Repeat("x", 60_000) + "@h>"}, {contact}},
		"long user agent":                {{contact, "User-Agent: " + strings.Repeat("x", 60_000)}, {contact}},
		"long Path":                      {{contact, "Path: " + strings.Repeat("<sip:a;lr>,", 5000)}, {contact}},
		"many Paths":                     {append([]string{contact}, slices.Repeat([]string{"Path: <sip:a;lr>"}, 2000)...), {contact}},
		"bad UTF-8":                      {{contact, "User-Agent: \xff\xfe"}, {contact}},
		"bad UTF-8 in the answer":        {{contact}, {"Contact: <sip:\xc3\x28@h>;expires=60"}},
		"control characters":             {{"Contact: <sip:bob\x00@10.77.0.2>"}, {contact}},
		"a line end that is none":        {{contact, "User-Agent: a\rb\x0bc"}, {contact}},
		"a Contact that ends its header": {{contact}, {"Contact: sip:a>b@h;expires=60"}},
		"an instance that does":          {{contact + `;+sip.instance=<a"b>`}, {contact}},
		"all, and one":                   {{"Contact: *", contact, "Expires: 0"}, {contact}},
		"all, for good":                  {{"Contact: *", "Expires: 60"}, {contact}},
		"all, in the answer":             {{contact}, {"Contact: *"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLearner()
			l.in(registerText("evil", 1, pair[0]...), phoneAt)
			l.out(registeredText(200, "evil", 1, pair[1]...), phoneAt)
			if s := l.snapshot(l.at); len(l.got) != 0 || s.RegistrationsRefused != 1 || len(l.registrations.pending) != 0 {
				t.Errorf("got %d registrations, %d refused, %d pending, want 0, 1, 0", len(l.got), s.RegistrationsRefused, len(l.registrations.pending))
			}
		})
	}
	t.Run("To that is no address of record", func(t *testing.T) {
		for _, to := range []string{"<tel:+123>", "<sip:a@b@c>", "<sip:>", "x", "<sip:a%\x01b@h>"} {
			l := newLearner()
			l.in(strings.Replace(registerText("evil", 1, contact), "To: <sip:bob@example.net>", "To: "+to, 1), phoneAt)
			l.out(registeredText(200, "evil", 1, contact), phoneAt)
			if len(l.got) != 0 || l.snapshot(l.at).RegistrationsRefused != 1 {
				t.Errorf("%q: got %+v", to, l.got)
			}
		}
	})
}

// A flood of REGISTERs that nobody answers costs bounded memory, of small ones and of large ones, and none when it has passed.
func TestRegistrations_bounded(t *testing.T) {
	for name, size := range map[string]int{"small": 0, "large": 60_000} {
		t.Run(name, func(t *testing.T) {
			l := newLearner()
			before := heapInUse()
			filler := "User-Agent: " + strings.Repeat("x", size)
			number := 3 * min(maxRegisters, maxRegisterOctets/(size+1))
			for i := range number {
				l.in(registerText(fmt.Sprint("flood", i), 1, filler), phoneAt, func(m *Meta) { m.At = time.Second })
			}
			r := l.registrations
			if len(r.pending) > maxRegisters || r.octets > maxRegisterOctets || r.octets < maxRegisterOctets/2 {
				t.Errorf("got %d REGISTERs of %d octets, want at most %d and %d", len(r.pending), r.octets, maxRegisters, maxRegisterOctets)
			}
			if s := l.snapshot(l.at); s.RegistrationsForgotten != uint64(number-len(r.pending)) {
				t.Errorf("got %d forgotten, want %d", s.RegistrationsForgotten, number-len(r.pending))
			}
			if grown := heapInUse() - before; grown > maxRegisterOctets+16<<20 {
				t.Errorf("memory grew by %d KB, want at most %d and the map", grown>>10, maxRegisterOctets>>10)
			}
			last := fmt.Sprint("flood", number-1)
			l.out(registeredText(200, last, 1), phoneAt, func(m *Meta) { m.At = 2 * time.Second })
			if len(l.got)+int(l.snapshot(l.at).RegistrationsRefused) != 1 {
				t.Error("the last one is forgotten, too")
			}
			if due, ok := r.next(); !ok || due != time.Second+registerLife {
				t.Errorf("next: got %v, %v", due, ok)
			}
			r.expire(2*time.Second + registerLife)
			if _, ok := r.next(); ok || r.octets != 0 {
				t.Errorf("got %d octets of %d REGISTERs in the end, want none", r.octets, len(r.pending))
			}
		})
	}
	t.Run("accepted", func(t *testing.T) {
		l := newLearner()
		l.registrations.tell = func(location.Registration) {}
		for i := range 4 * maxAccepted {
			reg := location.Registration{AOR: fmt.Sprint(i)}
			l.registrations.order(&reg, time.Second, time.Second)
		}
		if n := len(l.registrations.accepted) + len(l.registrations.before); n > 2*maxAccepted {
			t.Errorf("got %d, want at most %d", n, 2*maxAccepted)
		}
	})
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Whatever two messages say, what is learned is within bounds, and so is what it makes of an address of record.
func FuzzRegistration(f *testing.F) {
	contact := "Contact: <sip:bob@10.77.0.2>;expires=60"
	for _, pair := range [][2][]string{
		{{contact}, {contact}},
		{{"Contact: *", "Expires: 0"}, nil},
		{{contact + `;q=0.5;+sip.instance="<urn:uuid:1>";reg-id=1`, "Path: <sip:a;lr>"}, {contact + `;received="sip:1.2.3.4:5";reg-id=1,<sip:b@[::1]>`, "Expires: 7"}},
		{{"m: sip:%62ob@H;a,b", contact + "\r\n\t;expires=0"}, {"m: <sip:bob@10.77.0.2:5060;A>;q=.3", "Contact: <sips:x?y>"}},
		{{contact}, nil},
	} {
		f.Add([]byte(registerText("id", 1, pair[0]...)), []byte(registeredText(200, "id", 1, pair[1]...)), uint8(len(pair[1])))
	}
	have := []location.Binding{
		{Contact: "sip:bob@10.77.0.2", CallID: "id", Expires: time.Minute}, {Contact: "sip:bob@10.77.0.9", Instance: "<urn:uuid:1>", RegID: 1, Expires: time.Hour},
	}
	f.Fuzz(func(t *testing.T, request, answer []byte, transport uint8) {
		var req, ans sip.Message
		if _, err := sip.Parse(request, &req); err != nil {
			return
		}
		if _, err := sip.Parse(answer, &ans); err != nil {
			return
		}
		meta := Meta{From: netip.MustParseAddrPort(phoneAt), To: netip.MustParseAddrPort(serverAt), Transport: Transport(transport % 6)}
		goesBack(&meta, &meta, &req)
		r, err := readRegistration(&req, &ans, meta)
		if err != nil {
			return
		}
		if again, err := location.AOR("sip:" + r.AOR); err != nil || again != r.AOR {
			t.Errorf("address of record %q is read as %q, %v", r.AOR, again, err)
		}
		r.Partial = r.Partial || transport > 127
		now := location.Merge(have, r, time.Second)
		twice := location.Merge(now, r, time.Second)
		keys := map[string]bool{}
		for i := range now {
			if keys[now[i].Key()] {
				t.Errorf("key %q comes twice", now[i].Key())
			}
			keys[now[i].Key()] = true
			if now[i].Contact == "" || now[i].Expires <= 0 {
				t.Errorf("got %+v", now[i])
			}
		}
		if len(now) > location.MaxContacts || len(twice) != len(now) {
			t.Errorf("got %d bindings, and %d when it was merged again", len(now), len(twice))
		}
	})
}

// What a REGISTER and its answer cost: when nobody listens, when somebody does, and what others cost then.
func BenchmarkRegistrations(b *testing.B) {
	contact := "Contact: <sip:bob@10.77.0.2>;expires=60"
	pair := func(method string) (request, answer []byte) {
		fix := strings.NewReplacer("REGISTER", method).Replace
		return []byte(fix(registerText("id", 1, contact, "User-Agent: Phone 1.0"))), []byte(fix(registeredText(200, "id", 1, contact)))
	}
	for _, method := range []string{"REGISTER", "MESSAGE"} {
		for _, listens := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s,listens=%v", method, listens), func(b *testing.B) {
				l := newLearner()
				if !listens {
					l.observer.registrations = nil
				} else {
					l.observer.registrations.tell = func(location.Registration) {}
				}
				request, answer := pair(method)
				in := Meta{From: netip.MustParseAddrPort(phoneAt), To: netip.MustParseAddrPort(serverAt), In: true, At: time.Second}
				out := Meta{From: in.To, To: in.From, At: time.Second}
				b.ReportAllocs()
				for b.Loop() {
					l.message(request, in)
					l.message(answer, out)
				}
			})
		}
	}
}
