package registrar

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// fakeFreeSWITCH speaks as FreeSWITCH does: mod_event_socket.c (packets, auth, event, sendevent, api), switch_event.c (serialised events),
// mod_sofia.c (xmlstatus: cmd_xml_status, show_reg_callback_xml, with switch_amp_encode) and sofia.c (event_handler: what it does to
// sip_registrations on multicast::event, some time after "+OK").
type fakeFreeSWITCH struct {
	listener net.Listener
	uuid     string
	multi    bool // multiple-registrations

	mu        sync.Mutex
	rows      []sipRegistration
	conns     []net.Conn
	listening []net.Conn
	mangle    func(string) string
	sent      int
	wait      sync.WaitGroup
}

type sipRegistration struct {
	callID, user, host, contact, agent, ip, port string
	expires                                      time.Duration
}

func newFakeFreeSWITCH(t *testing.T, address string) *fakeFreeSWITCH {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeFreeSWITCH{listener: listener, multi: true, uuid: "core-" + strconv.Itoa(rand.Int())}
	f.wait.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			f.wait.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { f.stop(); f.wait.Wait() })
	return f
}

func (f *fakeFreeSWITCH) stop() {
	f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_, _ = io.WriteString(c, "Content-Type: text/disconnect-notice\nContent-Length: 67\n\nDisconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n")
		c.Close()
	}
	f.conns, f.listening = nil, nil
}

// readCommand is read_packet: lines until an empty one, spaces after the colon dropped, values as they are.
func readCommand(r *bufio.Reader) (command string, fields amiMessage, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" && command == "":
		case line == "":
			return command, fields, nil
		case command == "":
			command = line
		default:
			name, value, _ := strings.Cut(line, ":")
			fields = append(fields, amiField{name, strings.TrimLeft(value, " ")})
		}
	}
}

func (f *fakeFreeSWITCH) serve(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "Content-Type: auth/request\n\n")
	r := bufio.NewReader(c)
	authenticated := false
	for {
		command, fields, err := readCommand(r)
		if err != nil {
			return
		}
		reply := func(text string) string { return "Content-Type: command/reply\nReply-Text: " + text + "\n\n" }
		var out string
		verb, rest, _ := strings.Cut(command, " ")
		switch {
		case verb == "auth" && rest == "ClueCon":
			authenticated = true
			out = reply("+OK accepted")
		case !authenticated:
			_, _ = io.WriteString(c, reply("-ERR invalid"))
			return
		case command == "event plain CUSTOM sofia::register sofia::unregister sofia::expire":
			out = reply("+OK event listener enabled plain")
			f.mu.Lock()
			f.listening = append(f.listening, c)
			f.mu.Unlock()
		case command == "sendevent CUSTOM" && fields.get("Event-Subclass") == "multicast::event":
			out = reply("+OK 0b0ad1f4-0a1c-4f2c-8a57-3ac3a5b5a6a1")
			f.mu.Lock()
			f.sent++
			f.mu.Unlock()
			f.wait.Go(func() {
				time.Sleep(10 * time.Millisecond)
				f.multicast(fields)
			})
		case verb == "api":
			text := f.api(rest)
			f.mu.Lock()
			if f.mangle != nil {
				text = f.mangle(text)
			}
			f.mu.Unlock()
			out = fmt.Sprintf("Content-Type: api/response\nContent-Length: %d\n\n%s", len(text), text)
			if after, ok := strings.CutPrefix(text, "RAW"); ok {
				out = after
			}
		default:
			out = reply("-ERR command not found")
		}
		if _, err := io.WriteString(c, out); err != nil {
			return
		}
	}
}

// multicast is sofia.c: event_handler.
func (f *fakeFreeSWITCH) multicast(m amiMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	subclass := m.get("orig-event-subclass")
	if m.get("orig-profile-name") != "internal" || (subclass != "sofia::register" && subclass != "sofia::unregister") {
		return
	}
	f.rows = slices.DeleteFunc(f.rows, func(r sipRegistration) bool {
		if f.multi {
			return r.callID == m.get("orig-call-id")
		}
		return r.user == m.get("orig-from-user") && r.host == m.get("orig-from-host")
	})
	if subclass == "sofia::register" {
		seconds, _ := strconv.Atoi(m.get("orig-expires"))
		f.rows = append(f.rows, sipRegistration{
			m.get("orig-call-id"), m.get("orig-from-user"), m.get("orig-from-host"), m.get("orig-contact"), m.get("orig-user-agent"),
			m.get("orig-network-ip"), m.get("orig-network-port"), in(seconds),
		})
	}
}

// put replaces the registrations.
func (f *fakeFreeSWITCH) put(rows ...sipRegistration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = rows
}

func (f *fakeFreeSWITCH) registrations() []sipRegistration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rows)
}

func ampEncode(s string) string {
	return strings.NewReplacer(`"`, "&quot;", "'", "&apos;", "&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func (f *fakeFreeSWITCH) api(command string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	words := strings.Fields(command)
	switch {
	case command == "global_getvar core_uuid":
		return f.uuid
	case len(words) < 4 || strings.Join(words[:3], " ") != "sofia xmlstatus profile":
		return "-ERR " + words[0] + " Command not found!\n"
	case words[3] != "internal":
		return "Invalid Profile!\n"
	}
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<profile>\n")
	if len(words) == 4 {
		fmt.Fprintf(&b, "  <profile-info>\n    <name>internal</name>\n    <registrations>%d</registrations>\n  </profile-info>\n</profile>\n", len(f.rows))
		return b.String()
	}
	user, host, _ := strings.Cut(words[5], "@")
	b.WriteString("  <registrations>\n")
	for _, r := range f.rows {
		if r.user != user || r.host != host {
			continue
		}
		fmt.Fprintf(&b, "    <registration>\n        <call-id>%s</call-id>\n        <user>%s@%s</user>\n        <contact>%s</contact>\n        <agent>%s</agent>\n"+
			"        <status>Registered(unknown) exp(2026-11-21 10:00:00) expsecs(%d)</status>\n        <ping-status>Reachable</ping-status>\n        <ping-time>0.00</ping-time>\n"+
			"        <host>fs</host>\n        <network-ip>%s</network-ip>\n        <network-port>%s</network-port>\n        <sip-auth-user>%s</sip-auth-user>\n"+
			"        <sip-auth-realm>%s</sip-auth-realm>\n        <mwi-account>%s@%s</mwi-account>\n    </registration>\n",
			r.callID, r.user, r.host, ampEncode(r.contact), ampEncode(r.agent), int((r.expires-testNow()+time.Second/2)/time.Second), r.ip, r.port, r.user, r.host, r.user, r.host)
	}
	b.WriteString("  </registrations>\n</profile>\n")
	return b.String()
}

// raise sends an event as switch_event_serialize writes it, and reports whether anyone receives it.
func (f *fakeFreeSWITCH) raise(fields ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	body := "Event-Name: CUSTOM\nCore-UUID: " + f.uuid + "\nEvent-Date-Local: 2026-11-21%2010%3A00%3A00\n"
	for i := 0; i < len(fields); i += 2 {
		body += fields[i] + ": " + eslEscape(fields[i+1]) + "\n"
	}
	body += "\n"
	for _, c := range f.listening {
		fmt.Fprintf(c, "Content-Length: %d\nContent-Type: text/event-plain\n\n%s", len(body), body)
	}
	return len(f.listening) > 0
}

func newTestFreeSWITCH(t *testing.T, f *fakeFreeSWITCH) *FreeSWITCH {
	t.Helper()
	o := DefaultFreeSWITCHOptions()
	o.Socket, o.Password, o.Now, o.Limit = f.listener.Addr().String(), "ClueCon", testNow, 3*time.Second
	s, err := NewFreeSWITCH(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Whatever is applied is what is looked up afterwards; applying it again sends nothing; others are not touched.
func TestFreeSWITCH_appliesAndLooksUp(t *testing.T) {
	f := newFakeFreeSWITCH(t, "127.0.0.1:0")
	s := newTestFreeSWITCH(t, f)
	f.put(sipRegistration{callID: "other", user: "1002", host: "example.net", contact: "<sip:1002@192.0.2.9>", expires: in(60)})
	const aor = "1001@example.net"
	one, two, three := asteriskBinding("1001"), asteriskBinding("1001"), asteriskBinding("1001")
	two.Contact, two.Received, two.Path, two.CallID, two.UserAgent = "sip:1001@192.0.2.8;transport=tcp", "", "<sip:p@198.51.100.1:5060;lr>,<sip:q;lr>", "2", ""
	three.Contact, three.Received, three.CallID = "sip:1001@[2001:db8::7]:5060;transport=tls;ob", "sip:[2001:db8::1]:40000;transport=tls", "3"
	want := []location.Binding{one, two, three}
	for range 2 {
		if err := s.Apply(t.Context(), aor, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Lookup(t.Context(), aor)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	if f.sent != 3 {
		t.Errorf("%d events", f.sent)
	}
	if n, err := s.Count(t.Context()); n != 4 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	// As sofia_reg.c writes it (the address of record has no display name here).
	if want := `"" <sip:1001@192.0.2.7:5062;fs_nat=yes;fs_path=sip%3A1001%40203.0.113.9%3A31987>`; !slices.ContainsFunc(f.registrations(), func(r sipRegistration) bool {
		return r.contact == want && r.ip == "203.0.113.9" && r.port == "31987"
	}) {
		t.Errorf("got %+v, want %s", f.registrations(), want)
	}
	one.Expires, one.Received = in(600), "sip:203.0.113.9:31988"
	if err := s.Apply(t.Context(), aor, []location.Binding{one}); err != nil {
		t.Fatal(err)
	}
	got, _ = s.Lookup(t.Context(), aor)
	equal(t, got, []location.Binding{one})
	if err := s.Apply(t.Context(), aor, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Lookup(t.Context(), aor); err != nil || len(got) != 0 || len(f.registrations()) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// Without multiple-registrations the new one is there when the old one has gone, and more than one is an error that says why.
func TestFreeSWITCH_oneRegistration(t *testing.T) {
	f := newFakeFreeSWITCH(t, "127.0.0.1:0")
	f.multi = false
	s := newTestFreeSWITCH(t, f)
	s.options.Settle = 200 * time.Millisecond
	const aor = "1001@example.net"
	one, two := asteriskBinding("1001"), asteriskBinding("1001")
	two.CallID, two.Contact = "2", "sip:1001@192.0.2.8"
	for _, b := range []location.Binding{one, two} {
		if err := s.Apply(t.Context(), aor, []location.Binding{b}); err != nil {
			t.Fatal(err)
		}
		got, _ := s.Lookup(t.Context(), aor)
		equal(t, got, []location.Binding{b})
	}
	if err := s.Apply(t.Context(), aor, []location.Binding{one, two}); err == nil || !strings.Contains(err.Error(), "multiple-registrations") {
		t.Errorf("got %v", err)
	}
}

// A Call-ID is told as the phone chose it: one that looks like XML makes no registrations of others.
func TestFreeSWITCH_hostileCallID(t *testing.T) {
	f := newFakeFreeSWITCH(t, "127.0.0.1:0")
	s := newTestFreeSWITCH(t, f)
	evil := `x</call-id><user>1002@example.net</user></registration><registration><call-id>y`
	f.put([]sipRegistration{
		{callID: evil, user: "1001", host: "example.net", contact: `"x <sip:victim@192.0.2.1>" <sip:1001@192.0.2.7>`, agent: "</agent><status>expsecs(9)", expires: in(60)},
		{callID: "cut", user: "1001", host: "example.net", contact: `<sip:1001@192.0.2.7`, expires: in(60)},
		{callID: "old", user: "1001", host: "example.net", contact: `<sip:1001@192.0.2.7>`, expires: in(-60)},
		{callID: "line", user: "1001", host: "example.net", contact: `<sip:1001@192.0.2.7;fs_path=%0d%0a>`, expires: in(60)},
	}...)
	got, err := s.Lookup(t.Context(), "1001@example.net")
	if err != nil || len(got) != 1 || got[0].CallID != evil || got[0].Contact != "sip:1001@192.0.2.7" || got[0].UserAgent != "</agent><status>expsecs(9)" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, aor := range []string{"1001", "@", "a@b c", "a@b\n\napi shutdown", "a'@b", strings.Repeat("x", 2000) + "@y"} {
		if _, err := s.Lookup(t.Context(), aor); err == nil {
			t.Errorf("%.20q was asked for", aor)
		}
	}
	bad := asteriskBinding("1001")
	bad.UserAgent = "x\norig-from-user: 1002"
	f.put()
	if err := s.Apply(t.Context(), "1001@example.net", []location.Binding{bad}); err == nil || len(f.registrations()) != 0 {
		t.Errorf("a line was smuggled in: %v, %v", f.registrations(), err)
	}
}

// Changes are heard of, of our profile only, and after FreeSWITCH was started anew too; so are questions answered.
func TestFreeSWITCH_startedAnew(t *testing.T) {
	f := newFakeFreeSWITCH(t, "127.0.0.1:0")
	s := newTestFreeSWITCH(t, f)
	hints := watching(t, s)
	eventually(t, "nobody listens", func() bool { return f.raise("Event-Subclass", "x") })
	f.raise("Event-Subclass", "sofia::register", "profile-name", "external", "from-user", "no", "from-host", "example.net", "call-id", "c")
	for _, subclass := range []string{"sofia::register", "sofia::unregister"} {
		f.raise("Event-Subclass", subclass, "profile-name", "internal", "from-user", "+49%30", "from-host", "example.net", "contact", `"x" <sip:a@b>`, "call-id", "c@1", "to-user", "x")
		hinted(t, hints, Hint{AOR: "+49%30@example.net", CallID: "c@1"})
	}
	f.raise("Event-Subclass", "sofia::expire", "profile-name", "internal", "call-id", "c2", "user", "1001", "username", "1001", "host", "example.net", "expires", "1")
	hinted(t, hints, Hint{AOR: "1001@example.net", CallID: "c2"})
	first, err := s.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := f.listener.Addr().String()
	f.stop()
	if _, err := s.Lookup(t.Context(), "1001@example.net"); err == nil {
		t.Error("answered by nobody")
	}
	f = newFakeFreeSWITCH(t, address)
	second, err := s.Generation(t.Context())
	if err != nil || first == second {
		t.Errorf("%q, %q, %v", first, second, err)
	}
	eventually(t, "nobody listens again", func() bool { return f.raise("Event-Subclass", "x") })
	f.raise("Event-Subclass", "sofia::expire", "profile-name", "internal", "call-id", "c3", "user", "1003", "host", "example.net")
	hinted(t, hints, Hint{AOR: "1003@example.net", CallID: "c3"})
}

// What is no answer ends in an error, in time, and the next question is answered.
func TestFreeSWITCH_malformed(t *testing.T) {
	f := newFakeFreeSWITCH(t, "127.0.0.1:0")
	s := newTestFreeSWITCH(t, f)
	s.options.Limit = 200 * time.Millisecond
	for name, text := range map[string]string{
		"nothing":       "RAW",
		"no such":       "-ERR no reply\n",
		"other":         "Invalid Profile!\n",
		"huge":          "RAWContent-Type: api/response\nContent-Length: 9999999999\n\n",
		"negative":      "RAWContent-Type: api/response\nContent-Length: -1\n\n",
		"no number":     "RAWContent-Type: api/response\nContent-Length: x\n\n",
		"too short":     "RAWContent-Type: api/response\nContent-Length: 100\n\n<registrations>",
		"no colon":      "RAWnonsense\n\n",
		"endless head":  "RAW" + strings.Repeat("x: y\n", 1<<16),
		"goodbye":       "RAWContent-Type: text/disconnect-notice\nContent-Length: 0\n\n",
		"not permitted": "RAWContent-Type: command/reply\nReply-Text: -ERR permission denied\n\n",
	} {
		f.mu.Lock()
		f.mangle = func(string) string { return text }
		f.mu.Unlock()
		if got, err := s.Lookup(within(t, 5*time.Second), "1001@example.net"); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
		f.mu.Lock()
		f.mangle = nil
		f.mu.Unlock()
		if _, err := s.Lookup(t.Context(), "1001@example.net"); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	s.options.Password = "wrong"
	s.socket.end()
	if _, err := s.Lookup(t.Context(), "1001@example.net"); err == nil || !strings.Contains(err.Error(), "invalid") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseESL(f *testing.F) {
	f.Add([]byte("Content-Type: auth/request\n\nContent-Length: 76\nContent-Type: text/event-plain\n\nEvent-Name: CUSTOM\nEvent-Subclass: sofia%3A%3Aexpire\nuser: a\nhost: b\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(strings.NewReader(string(data)))
		for {
			p, err := parseESL(r)
			if err != nil {
				return
			}
			if m, ok := p.event(); ok {
				if h, ok := registrationHint(m, ""); ok && (len(h.AOR) < 3 || !plain(h.AOR)) {
					t.Errorf("%+v", h)
				}
			}
		}
	})
}

func FuzzParseRegistrations(f *testing.F) {
	f.Add("    <registration>\n        <call-id>x</call-id>\n        <user>a@b</user>\n        <contact>&quot;&quot; &lt;sip:a@1.2.3.4:5;fs_nat=yes;fs_path=sip%3Aa%401.2.3.4%3A6&gt;</contact>\n        <status>Registered(UDP)(unknown) exp(x) expsecs(59)</status>\n    </registration>\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, b := range parseRegistrations(text, "a@b", 0) {
			if b.Contact == "" || b.Expires <= 0 {
				t.Errorf("%+v", b)
			}
			_ = asFreeSWITCH(&b)
			_, _ = networkAddress(&b)
		}
	})
}
