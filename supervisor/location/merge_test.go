package location

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const start = 1000 * time.Second

// phone is a binding that was registered some time ago and lasts until start + 1000 s.
func phone(contact string, change ...func(*Binding)) Binding {
	b := Binding{
		Contact: contact, Q: NoQ, CallID: "call-" + contact, CSeq: 10, UserAgent: "Old 1", Path: "<sip:edge;lr>", Socket: "udp:192.0.2.1:5060",
		Methods: AllMethods, Expires: start + 1000*time.Second,
	}
	for _, f := range change {
		f(&b)
	}
	return b
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// registered is what phones register with in these tests.
func registered(named, granted []Contact, change ...func(*Registration)) Registration {
	r := Registration{
		AOR: "bob@example.net", CallID: "new", CSeq: 7, UserAgent: "New 2", Received: "sip:203.0.113.9:31987", Socket: "udp:192.0.2.100:5060",
		Transport: "udp", Named: named, Granted: granted,
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func contact(uri string, expires int) Contact {
	return Contact{URI: uri, Q: NoQ, Expires: seconds(expires)}
}

// learned is the binding that registered leads to.
func learned(uri string, expires int, change ...func(*Binding)) Binding {
	b := Binding{
		Contact: uri, Q: NoQ, CallID: "new", CSeq: 7, UserAgent: "New 2", Received: "sip:203.0.113.9:31987", Socket: "udp:192.0.2.100:5060",
		Methods: AllMethods, Expires: start + seconds(expires),
	}
	for _, f := range change {
		f(&b)
	}
	return b
}

// What an accepted REGISTER makes of the bindings that were there (RFC 3261 10.3).
func TestMerge(t *testing.T) {
	const a, b, c = "sip:bob@192.168.1.2:5060", "sip:bob@192.168.1.3:5060", "sip:bob@192.168.1.4:5060"
	list := func(contacts ...Contact) []Contact { return contacts }
	with := func(c Contact, change func(*Contact)) Contact { change(&c); return c }
	partial := func(r *Registration) { r.Partial = true }
	tests := map[string]struct {
		have []Binding
		r    Registration
		want []Binding
	}{
		"the first": {nil, registered(list(contact(a, 60)), list(contact(a, 50))), []Binding{learned(a, 50)}},
		"a refresh keeps what the server alone knows": {
			[]Binding{phone(a, func(b *Binding) { b.CallID, b.CSeq, b.Flags, b.Branch, b.Methods = "new", 6, 1, 2, 3 })},
			registered(list(contact(a, 60)), list(contact(a, 60))),
			[]Binding{learned(a, 60, func(b *Binding) { b.Flags, b.Branch, b.Methods = 1, 2, 3 })},
		},
		"an older one changes nothing": {
			[]Binding{phone(a, func(b *Binding) { b.CallID, b.CSeq = "new", 8 })},
			registered(list(contact(a, 60), contact(b, 60)), list(contact(a, 60), contact(b, 60))),
			[]Binding{phone(a, func(b *Binding) { b.CallID, b.CSeq = "new", 8 })},
		},
		"sent again it prolongs nothing": {
			[]Binding{learned(a, 50)}, registered(list(contact(a, 60)), list(contact(a, 55))), []Binding{learned(a, 50)},
		},
		"a phone that never counts is refreshed all the same": {
			[]Binding{learned(a, 50)}, registered(list(contact(a, 60)), list(contact(a, 600))), []Binding{learned(a, 600)},
		},
		"others are told once more": {
			[]Binding{phone(a), phone(b)}, registered(list(contact(c, 60)), list(contact(a, 999), contact(b, 300), contact(c, 60))),
			[]Binding{phone(a), phone(b, func(b *Binding) { b.Expires = start + seconds(300) }), learned(c, 60)},
		},
		"what is not listed is gone": {
			[]Binding{phone(a), phone(b)}, registered(list(contact(c, 60)), list(contact(b, 1000), contact(c, 60))), []Binding{phone(b), learned(c, 60)},
		},
		"one nobody has seen before": {
			nil, registered(nil, list(with(contact(b, 60), func(c *Contact) { c.Q, c.Instance, c.RegID, c.Received = 500, "<urn:1>", 2, "sip:1.2.3.4:5" }))),
			[]Binding{{Contact: b, Q: 500, Instance: "<urn:1>", RegID: 2, Received: "sip:1.2.3.4:5", Methods: AllMethods, Expires: start + seconds(60)}},
		},
		"one is removed":                   {[]Binding{phone(a), phone(b)}, registered(list(contact(a, 0)), list(contact(b, 1000))), []Binding{phone(b)}},
		"removed, and still listed with 0": {[]Binding{phone(a)}, registered(list(contact(a, 0)), list(contact(a, 0))), nil},
		"one is removed, without a list":   {[]Binding{phone(a), phone(b)}, registered(list(contact(a, 0)), nil, partial), []Binding{phone(b)}},
		"one is added, without a list": {
			[]Binding{phone(a)}, registered(list(contact(b, 60)), list(contact(b, 60)), partial), []Binding{learned(b, 60), phone(a)},
		},
		"asked for, and not told": {[]Binding{phone(a)}, registered(nil, nil, partial), []Binding{phone(a)}},
		"all are removed":         {[]Binding{phone(a), phone(b)}, registered(nil, nil, func(r *Registration) { r.All = true }), nil},
		"all are removed while another comes": {
			[]Binding{phone(a), phone(b)},
			registered(nil, list(contact(b, 1000)), func(r *Registration) { r.All, r.Partial = true, true }), []Binding{phone(b)},
		},
		"while another was answered": { // a is new, b has been removed, c is ours
			[]Binding{phone(a), phone(c)}, registered(list(contact(c, 60)), list(contact(b, 500), contact(c, 60)), partial),
			[]Binding{learned(c, 60), phone(a)},
		},
		"instance and reg-id are the binding": {
			[]Binding{phone(a, func(b *Binding) { b.Instance, b.RegID, b.Branch = "<urn:1>", 1, 64 }), phone(b, func(b *Binding) { b.Instance, b.RegID = "<urn:1>", 2 })},
			registered(list(with(contact(c, 60), func(c *Contact) { c.Instance, c.RegID = "<urn:1>", 1 })),
				list(with(contact(c, 60), func(c *Contact) { c.Instance, c.RegID = "<urn:1>", 1 }), with(contact(b, 1000), func(c *Contact) { c.Instance, c.RegID = "<urn:1>", 2 }))),
			[]Binding{learned(c, 60, func(b *Binding) { b.Instance, b.RegID, b.Branch = "<urn:1>", 1, 64 }), phone(b, func(b *Binding) { b.Instance, b.RegID = "<urn:1>", 2 })},
		},
		"an instance that the answer leaves out": {
			nil, registered(list(with(contact(a, 60), func(c *Contact) { c.Instance, c.RegID, c.Q = "<urn:1>", 1, 300 })), list(contact(a, 60))),
			[]Binding{learned(a, 60, func(b *Binding) { b.Instance, b.RegID, b.Q = "<urn:1>", 1, 300 })},
		},
		"two phones with one private address": {
			[]Binding{phone(a, func(b *Binding) { b.Instance = "<urn:1>" })},
			registered(list(with(contact(a, 60), func(c *Contact) { c.Instance = "<urn:2>" })),
				list(with(contact(a, 1000), func(c *Contact) { c.Instance = "<urn:1>" }), with(contact(a, 60), func(c *Contact) { c.Instance = "<urn:2>" }))),
			[]Binding{phone(a, func(b *Binding) { b.Instance = "<urn:1>" }), learned(a, 60, func(b *Binding) { b.Instance = "<urn:2>" })},
		},
		"one key once": {
			nil, registered(list(contact(a, 60)), list(contact(a, 60), contact(a, 50))), []Binding{learned(a, 60)},
		},
		"no NAT": {
			nil, registered(list(contact(a, 60)), list(contact(a, 60)), func(r *Registration) { r.Received = "sip:192.168.1.2:5060" }),
			[]Binding{learned(a, 60, func(b *Binding) { b.Received = "" })},
		},
		"NAT, and the server tells where it sends to": {
			[]Binding{phone(b)},
			registered(list(contact(a, 60)), list(with(contact(a, 60), func(c *Contact) { c.Received = "sip:203.0.113.9:4" }), with(contact(b, 1000), func(c *Contact) { c.Received = "sip:203.0.113.8:4" }))),
			[]Binding{learned(a, 60, func(b *Binding) { b.Received = "sip:203.0.113.9:4" }), phone(b, func(b *Binding) { b.Received = "sip:203.0.113.8:4" })},
		},
		"what is told is no URI": {
			nil, registered(list(contact(a, 60)), list(with(contact(a, 60), func(c *Contact) { c.Received = "1.2.3.4" }))), []Binding{learned(a, 60)},
		},
		"NAT, and the server has put the source into the Contact": {
			[]Binding{phone(b)}, registered(list(contact(a, 60)), list(contact("sip:bob@203.0.113.9:31987", 60), contact(b, 1000))),
			[]Binding{learned("sip:bob@203.0.113.9:31987", 60, func(b *Binding) { b.Received = "" }), phone(b)},
		},
		"TCP without NAT": {
			nil, registered(list(contact("sip:bob@203.0.113.9:5060;transport=tcp", 60)), list(contact("sip:bob@203.0.113.9;transport=TCP", 60), contact("sip:bob@203.0.113.9:5060;transport=tcp", 60)),
				func(r *Registration) { r.Received, r.Transport = "sip:203.0.113.9:5060;transport=tcp", "tcp" }),
			[]Binding{
				learned("sip:bob@203.0.113.9;transport=TCP", 60, func(b *Binding) { b.Received = "" }),
				learned("sip:bob@203.0.113.9:5060;transport=tcp", 60, func(b *Binding) { b.Received = "" }),
			},
		},
		"through a proxy": {
			nil, registered(list(contact(a, 60)), list(contact(a, 60)), func(r *Registration) { r.Received, r.Path = "", "<sip:p1;lr>,<sip:p2;lr>" }),
			[]Binding{learned(a, 60, func(b *Binding) { b.Received, b.Path = "", "<sip:p1;lr>,<sip:p2;lr>" })},
		},
		"a URI in another form": {
			[]Binding{phone("sip:%62ob@Host.example;b;A=1", func(b *Binding) { b.Branch = 64 })},
			registered(list(contact("SIP:bob@host.example;a=1;B", 60)), list(contact("sip:bob@host.EXAMPLE;a=1;b", 60))),
			[]Binding{learned("sip:bob@host.EXAMPLE;a=1;b", 60, func(b *Binding) { b.Branch = 64 })},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			had := append([]Binding(nil), test.have...)
			got := Merge(test.have, test.r, start)
			if len(got) != len(test.want) {
				t.Fatalf("got %d bindings: %+v\nwant %+v", len(got), got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("binding %d: got %+v\nwant %+v", i, got[i], test.want[i])
				}
			}
			if len(had) > 0 && !reflect.DeepEqual(test.have, had) {
				t.Error("the bindings that were there are changed")
			}
		})
	}
}

// No answer makes more bindings than an address of record may have, whatever there was.
func TestMerge_bound(t *testing.T) {
	r := registered(nil, nil, func(r *Registration) { r.Partial = true })
	var have []Binding
	for i := range MaxContacts {
		have = append(have, phone(fmt.Sprintf("sip:bob@10.0.0.%d", i)))
		r.Named = append(r.Named, contact(fmt.Sprintf("sip:bob@10.0.1.%d", i), 60))
	}
	r.Granted = r.Named
	got := Merge(have, r, start)
	if len(got) != MaxContacts || got[0].CallID != "new" || got[MaxContacts-1].CallID != "new" {
		t.Errorf("got %d bindings, want the %d of the REGISTER", len(got), MaxContacts)
	}
}

// The address of record is what is left of a URI without what says how to get there (RFC 3261 10.3, step 5).
func TestAOR(t *testing.T) {
	for in, want := range map[string]string{
		"sip:Bob@Example.COM": "Bob@example.com", "SIPS:bob@example.com:5061;transport=tls": "bob@example.com", "sip:bob:secret@h": "bob@h",
		"sip:+1-202;phone-context=x@h?Subject=a": "+1-202;phone-context=x@h", "sip:bob@[FD77::1]:5060": "bob@[fd77::1]", "sip:example.net": "example.net",
		"sip:%62ob%40x%2f@h": "bob%40x/@h", "sip:%2a21%23@h": "*21#@h", "sip:50%@h": "50%@h", "sip:%c3%a9%00%3e@h": "%C3%A9%00%3E@h", "sip:bob@192.0.2.1 ": "bob@192.0.2.1",
	} {
		if got, err := AOR(in); got != want || err != nil {
			t.Errorf("AOR(%q): got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "bob", "bob@h", "tel:+1202", "sip:", "sip:bob@", "sip:a@b@c", "sip:bob@h h", "sip:bob@[::1", "sip:bob@[x]", "sip:bob@h:x", "sip:bob@h>", "sip:bob@é"} {
		if got, err := AOR(in); err == nil {
			t.Errorf("AOR(%q): got %q, want an error", in, got)
		}
	}
}

// What is too long, too much or no text is refused; what is accepted can't end the header that it is written into.
func TestRegistration_Validate(t *testing.T) {
	good := func() Registration {
		return registered([]Contact{contact("sip:bob@h", 60)}, []Contact{contact("sip:bob@h", 60)}, func(r *Registration) { r.UserAgent = "Téléphone 1" })
	}
	if r := good(); r.Validate() != nil {
		t.Fatalf("got %v, want nil", r.Validate())
	}
	long := strings.Repeat("x", MaxField+1)
	for name, change := range map[string]func(*Registration){
		"no AOR": func(r *Registration) { r.AOR = "" }, "AOR that ends itself": func(r *Registration) { r.AOR = "a>b@h" },
		"long user agent": func(r *Registration) { r.UserAgent = long }, "long Path": func(r *Registration) { r.Path = long },
		"line end in Call-ID": func(r *Registration) { r.CallID = "a\r\nb" }, "no UTF-8": func(r *Registration) { r.UserAgent = "\xff" },
		"C1 control": func(r *Registration) { r.UserAgent = "\u0085" }, "DEL": func(r *Registration) { r.Path = "\x7f" },
		"many named":      func(r *Registration) { r.Named = make([]Contact, MaxContacts+1) },
		"many granted":    func(r *Registration) { r.Granted = make([]Contact, MaxContacts+1) },
		"empty contact":   func(r *Registration) { r.Granted[0].URI = "" },
		"star granted":    func(r *Registration) { r.Granted[0].URI = "*" },
		"space in a URI":  func(r *Registration) { r.Named[0].URI = "sip:bob h" },
		"quoted instance": func(r *Registration) { r.Named[0].Instance = `a"b` }, "bracket in received": func(r *Registration) { r.Granted[0].Received = "sip:x>" },
		"NUL in a URI": func(r *Registration) { r.Granted[0].URI = "sip:b\x00b@h" }, "long instance": func(r *Registration) { r.Granted[0].Instance = long },
	} {
		r := good()
		if change(&r); r.Validate() == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestSourceURI(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"192.0.2.7:5062", "udp"}: "sip:192.0.2.7:5062", {"[fd77::2]:5062", "tcp"}: "sip:[fd77::2]:5062;transport=tcp",
		{"[::ffff:192.0.2.7]:1", "wss"}: "sip:192.0.2.7:1;transport=wss",
	} {
		if got := SourceURI(netip.MustParseAddrPort(in[0]), in[1]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
