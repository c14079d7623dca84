package registrar

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// fakeOpenSIPS speaks as OpenSIPS does: its management interface as modules/mi_datagram/datagram_fnc.c and mi/mi.c do (JSON-RPC 2.0, unix
// answers from a socket without a name, plain text for what it can't read), modules/usrloc/ul_mi.c and statistics.c for the methods,
// evi/event_interface.c and evi/evi_transport.c for events, modules/registrar for a replayed REGISTER.
type fakeOpenSIPS struct {
	older   bool // the names of before version 4
	since   string
	mi      net.PacketConn
	sip     *fakeRegistrar
	mangle  func(answer []byte) []byte
	deliver net.PacketConn

	mu          sync.Mutex
	contacts    map[string][]openSIPSRecord
	subscribers map[string]string
	calls       []string
}

type openSIPSRecord struct {
	uri, callID, agent, received, path, flags, socket, instance, q string
	cseq                                                           float64
	expires                                                        any // seconds or a word
	methods                                                        float64
}

func newFakeOpenSIPS(t *testing.T, address string, older bool) *fakeOpenSIPS {
	t.Helper()
	network, name, err := datagramAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeOpenSIPS{older: older, since: "Thu Aug 20 16:15:26 2026", contacts: map[string][]openSIPSRecord{}, subscribers: map[string]string{}}
	if network == "unix" {
		f.mi, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	} else {
		f.mi, err = net.ListenPacket("udp", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.deliver, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.sip = newFakeRegistrar(t, "127.0.0.1:0", f.register)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve(network)
	}()
	t.Cleanup(func() { f.stop(); <-done })
	return f
}

func (f *fakeOpenSIPS) stop() {
	f.mi.Close()
	f.sip.conn.Close()
	f.deliver.Close()
}

func (f *fakeOpenSIPS) serve(network string) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := f.mi.ReadFrom(buffer)
		if err != nil {
			return
		}
		answer := f.answer(buffer[:n])
		f.mu.Lock()
		if f.mangle != nil {
			answer = f.mangle(answer)
		}
		f.mu.Unlock()
		if network == "udp" {
			_, _ = f.mi.WriteTo(answer, from)
			continue
		}
		tx, err := net.DialUnix("unixgram", nil, from.(*net.UnixAddr)) // no name of its own
		if err == nil {
			_, _ = tx.Write(answer)
			tx.Close()
		}
	}
}

func (f *fakeOpenSIPS) answer(data []byte) []byte {
	var request struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Table      string `json:"table_name"`
			AOR        string `json:"aor"`
			Contact    string `json:"contact"`
			Event      string `json:"event"`
			Socket     string `json:"socket"`
			Expire     int    `json:"expire"`
			Statistics []string
		}
	}
	if json.Unmarshal(data, &request) != nil {
		return []byte("400 Parse_error")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, request.Method)
	reply := func(key, format string, args ...any) []byte {
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","%s":%s,"id":%s}`, key, fmt.Sprintf(format, args...), request.ID)
	}
	method := request.Method
	names := map[string]string{
		"usrloc:show_contact": "ul_show_contact", "usrloc:rm_contact": "ul_rm_contact", "evi:subscribe": "event_subscribe",
		"statistics:get": "get_statistics", "core:uptime": "uptime",
	}
	if older, ok := names[method]; ok && f.older {
		_ = older
		return reply("error", `{"code":-32601,"message":"Method not found"}`)
	} else if ok {
		method = older
	}
	p := request.Params
	if strings.HasPrefix(method, "ul_") && p.Table != "location" {
		return reply("error", `{"code":404,"message":"Table not found"}`)
	}
	switch method {
	case "ul_show_contact":
		if len(f.contacts[p.AOR]) == 0 {
			return reply("error", `{"code":404,"message":"AOR not found"}`)
		}
		var contacts []map[string]any
		for _, c := range f.contacts[p.AOR] {
			m := map[string]any{
				"Contact": c.uri, "ContactID": "3617797875662073346", "Expires": c.expires, "Q": c.q, "Callid": c.callID, "Cseq": c.cseq, "State": "CS_NEW",
				"Flags": 0, "Cflags": c.flags, "Methods": c.methods,
			}
			if e, ok := c.expires.(time.Duration); ok {
				m["Expires"] = int((e - testNow() + time.Second/2) / time.Second)
			}
			for k, v := range map[string]string{"User-agent": c.agent, "Received": c.received, "Path": c.path, "Socket": c.socket, "SIP_instance": c.instance} {
				if v != "" {
					m[k] = v
				}
			}
			contacts = append(contacts, m)
		}
		body, _ := json.Marshal(map[string]any{"AOR": p.AOR, "Contacts": contacts})
		return reply("result", "%s", body)
	case "ul_rm_contact":
		list := f.contacts[p.AOR]
		for i, c := range list {
			if c.uri == p.Contact {
				f.contacts[p.AOR] = append(list[:i:i], list[i+1:]...)
				return reply("result", `"OK"`)
			}
		}
		return reply("error", `{"code":404,"message":"Contact not found"}`)
	case "event_subscribe":
		f.subscribers[p.Event] = p.Socket
		return reply("result", `"OK"`)
	case "get_statistics":
		if len(p.Statistics) == 1 && p.Statistics[0] == "location-contacts" {
			n := 0
			for _, c := range f.contacts {
				n += len(c)
			}
			return reply("result", `{"usrloc:location-contacts":%d}`, n)
		}
		return reply("error", `{"code":404,"message":"Statistics Not Found"}`)
	case "uptime":
		return reply("result", `{"Now":"Fri Aug 21 10:00:00 2026","Up since":"%s","Up time":"63874 [sec]"}`, f.since)
	}
	return reply("error", `{"code":-32601,"message":"Method not found"}`)
}

// register is save("location") behind the route that our snippet describes.
func (f *fakeOpenSIPS) register(_ int, r *sipRequest) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	aor := strings.TrimSuffix(strings.TrimPrefix(r.headers["To"], "<sip:"), ">")
	var cseq float64
	_, _ = fmt.Sscanf(r.headers["CSeq"], "%f", &cseq)
	header, _, _ := strings.Cut(r.headers["Contact"], ">")
	params := strings.TrimPrefix(r.headers["Contact"], header+">")
	c := openSIPSRecord{
		uri: r.contact(), callID: r.headers["Call-ID"], agent: r.headers["User-Agent"], received: r.headers[HeaderReceived], path: r.headers["Path"],
		flags: r.headers[HeaderFlags], socket: r.headers[HeaderSocket], instance: strings.Trim(parameter(params, "+sip.instance"), `"`),
		q: strings.TrimRight(parameter(params, "q"), "0"), cseq: cseq, expires: in(r.seconds()), methods: 4294967295,
	}
	if c.agent == "" {
		c.agent = "n/a"
	}
	if c.socket == "" {
		c.socket = "udp:127.0.0.1:5062"
	}
	for i, old := range f.contacts[aor] {
		if old.uri == c.uri {
			if old.callID == c.callID && old.cseq >= c.cseq { // modules/usrloc/urecord.c: get_ucontact, after cseq_delay
				return [][]byte{r.answer("400 Invalid CSeq number")}
			}
			f.contacts[aor][i] = c
			return [][]byte{r.answer("200 OK")}
		}
	}
	f.contacts[aor] = append(f.contacts[aor], c)
	return [][]byte{r.answer("200 OK")}
}

// raise sends an event as evi_build_payload writes it.
func (f *fakeOpenSIPS) raise(name, aor, callID string, cseq int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	network, at, _ := datagramAddress(f.subscribers[name])
	event := fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"%s","params":{"domain":"location","aor":"%s","uri":"sip:1001@192.0.2.7:5062","received":"","path":"",`+
		`"qval":-1,"user_agent":"x","socket":"udp:192.0.2.1:5060","bflags":0,"expires":1787250926,"callid":"%s","cseq":%d,"attr":"","latency":0,"shtag":""}}`,
		name, aor, callID, cseq)
	switch network {
	case "udp":
		_, _ = f.deliver.WriteTo(event, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	case "unix":
		if c, err := net.Dial("unixgram", at); err == nil {
			_, _ = c.Write(event)
			c.Close()
		}
	}
	return network != ""
}

func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func newTestOpenSIPS(t *testing.T, f *fakeOpenSIPS, mi, events string) *OpenSIPS {
	t.Helper()
	o := DefaultOpenSIPSOptions()
	o.MI, o.Events, o.Register, o.Now, o.Domain = mi, events, f.sip.address(), testNow, "example.net"
	o.Limit = 3 * time.Second
	s, err := NewOpenSIPS(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Whatever is applied is what is looked up afterwards, with old names and new, by unix sockets and UDP; applying it again does nothing.
func TestOpenSIPS_appliesAndLooksUp(t *testing.T) {
	for name, older := range map[string]bool{"version 3": true, "version 4": false} {
		t.Run(name, func(t *testing.T) {
			mi := "unix:" + filepath.Join(t.TempDir(), "mi")
			if older {
				mi = "udp:" + freePort(t)
			}
			f := newFakeOpenSIPS(t, mi, older)
			s := newTestOpenSIPS(t, f, mi, "")
			const aor = "1001@example.net"
			if got, err := s.Lookup(t.Context(), aor); err != nil || len(got) != 0 {
				t.Fatalf("%v, %v", got, err)
			}
			one, two := binding("1001"), binding("1001")
			one.Socket = "udp:192.0.2.1:5060"
			two.Contact, two.Path, two.Instance, two.Q, two.Branch, two.Received = "sip:1001@192.0.2.8", "<sip:p;lr>", "<urn:uuid:1>", location.NoQ, 0, ""
			two.Socket = one.Socket
			want := []location.Binding{one, two}
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
			if n := len(f.sip.requests()); n != 2 {
				t.Errorf("%d REGISTERs", n)
			}
			if n, err := s.Count(t.Context()); n != 2 || err != nil {
				t.Errorf("count %d, %v", n, err)
			}
			if g, err := s.Generation(t.Context()); g != f.since || err != nil {
				t.Errorf("generation %q, %v", g, err)
			}

			one.CSeq, one.Expires = 42, in(600) // a refresh, and the other one goes
			if err := s.Apply(t.Context(), aor, []location.Binding{one}); err != nil {
				t.Fatal(err)
			}
			got, _ = s.Lookup(t.Context(), aor)
			equal(t, got, []location.Binding{one})

			late := one
			late.CSeq, late.Expires = 41, in(300) // overtaken by the phone itself: it stays as it is
			if err := s.Apply(t.Context(), aor, []location.Binding{late}); err != nil {
				t.Fatal(err)
			}
			got, _ = s.Lookup(t.Context(), aor)
			equal(t, got, []location.Binding{one})

			moved := one // the same REGISTER, seen from elsewhere: it can only be made anew
			moved.Received, moved.UserAgent = "sip:203.0.113.9:4", ""
			if err := s.Apply(t.Context(), aor, []location.Binding{moved}); err != nil {
				t.Fatal(err)
			}
			got, _ = s.Lookup(t.Context(), aor)
			equal(t, got, []location.Binding{moved})

			if err := s.Apply(t.Context(), aor, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Lookup(t.Context(), aor); err != nil || len(got) != 0 {
				t.Errorf("%v, %v", got, err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, c := range f.calls[len(f.calls)-3:] { // the name that is known is asked for first
				if strings.Contains(c, ":") == older {
					t.Errorf("still asks for %s", c)
				}
			}
		})
	}
}

// What is no binding of a phone is not told.
func TestOpenSIPS_leavesOutPermanent(t *testing.T) {
	mi := "unix:" + filepath.Join(t.TempDir(), "mi")
	f := newFakeOpenSIPS(t, mi, false)
	f.mu.Lock()
	for _, e := range []any{"permanent", "deleted", "expired", 0, -5, "x", 1e300} {
		f.contacts["1"] = append(f.contacts["1"], openSIPSRecord{uri: "sip:1@192.0.2.1", expires: e})
	}
	f.mu.Unlock()
	if got, err := newTestOpenSIPS(t, f, mi, "").Lookup(t.Context(), "1"); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Events are subscribed to, and again after OpenSIPS has started anew; nobody else's events count.
func TestOpenSIPS_watch(t *testing.T) {
	for _, network := range []string{"udp", "unix"} {
		t.Run(network, func(t *testing.T) {
			dir := t.TempDir()
			mi, events := "unix:"+filepath.Join(dir, "mi"), "unix:"+filepath.Join(dir, "events")
			if network == "udp" {
				events = "udp:" + freePort(t)
			}
			f := newFakeOpenSIPS(t, mi, false)
			s := newTestOpenSIPS(t, f, mi, events)
			s.renewal = 50 * time.Millisecond
			hints := watching(t, s)
			eventually(t, "not subscribed", func() bool { return f.raise("E_UL_CONTACT_DELETE", "", "", 0) })
			for _, name := range eventNames {
				f.raise(name, "1001@example.net", "c1", 7)
				hinted(t, hints, Hint{AOR: "1001@example.net", CallID: "c1", CSeq: 7})
			}
			f.stop()
			os.Remove(strings.TrimPrefix(mi, "unix:"))
			f = newFakeOpenSIPS(t, mi, false)
			eventually(t, "not subscribed again", func() bool { return f.raise("E_UL_CONTACT_DELETE", "", "", 0) })
			f.raise("E_UL_CONTACT_INSERT", "1002@example.net", "c2", 1)
			hinted(t, hints, Hint{AOR: "1002@example.net", CallID: "c2", CSeq: 1})
		})
	}
}

// Answers that are none, of others or too long end in an error, in time; the next question is answered.
func TestOpenSIPS_malformed(t *testing.T) {
	mi := "unix:" + filepath.Join(t.TempDir(), "mi")
	f := newFakeOpenSIPS(t, mi, false)
	s := newTestOpenSIPS(t, f, mi, "")
	s.mi.limit = 100 * time.Millisecond
	answers := map[string]func([]byte) []byte{
		"nothing":   func([]byte) []byte { return nil },
		"no JSON":   func([]byte) []byte { return []byte("{") },
		"internal":  func([]byte) []byte { return []byte("500 Internal error") },
		"cut off":   func(b []byte) []byte { return b[:len(b)-1] },
		"other id":  func([]byte) []byte { return []byte(`{"jsonrpc":"2.0","result":{},"id":"1"}`) },
		"no result": func(b []byte) []byte { return []byte(strings.Replace(string(b), "error", "errer", 1)) },
		"wrong types": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"error":{"code":404,"message":"AOR not found"}`, `"result":{"Contacts":7}`, 1))
		},
		"64 KiB": func(b []byte) []byte { return append([]byte(strings.Repeat(" ", 64<<10)), b...) },
	}
	for name, mangle := range answers {
		f.mu.Lock()
		f.mangle = mangle
		f.mu.Unlock()
		if got, err := s.Lookup(t.Context(), "1"); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
		f.mu.Lock()
		f.mangle = nil
		f.mu.Unlock()
	}
	if _, err := s.Lookup(t.Context(), "1"); err != nil {
		t.Error(err)
	}
	if err := s.Apply(t.Context(), "1", []location.Binding{{Contact: "sip:x\r\ny", CallID: "1", Expires: in(9)}}); err == nil {
		t.Error("a Contact of two lines was applied")
	}
}

// The wrong table is an error, not an address of record without bindings: else all of them would be removed.
func TestOpenSIPS_wrongTable(t *testing.T) {
	mi := "unix:" + filepath.Join(t.TempDir(), "mi")
	s := newTestOpenSIPS(t, newFakeOpenSIPS(t, mi, false), mi, "")
	s.options.Table = "loc"
	var no *miError
	if _, err := s.Lookup(t.Context(), "1"); !errors.As(err, &no) || no.Code != miNotFound {
		t.Errorf("got %v", err)
	}
}

func TestNewOpenSIPS_validates(t *testing.T) {
	good := DefaultOpenSIPSOptions()
	good.MI, good.Now = "udp:127.0.0.1:8080", testNow
	if _, err := NewOpenSIPS(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*OpenSIPSOptions){
		"relative path":  func(o *OpenSIPSOptions) { o.MI = "unix:mi.sock" },
		"no port":        func(o *OpenSIPSOptions) { o.MI = "udp:127.0.0.1" },
		"TCP":            func(o *OpenSIPSOptions) { o.MI = "tcp:127.0.0.1:1" },
		"events outside": func(o *OpenSIPSOptions) { o.Events = "udp:192.0.2.1:5098" },
		"events by IPv6": func(o *OpenSIPSOptions) { o.Events = "udp:[::1]:5098" },
		"no clock":       func(o *OpenSIPSOptions) { o.Now = nil },
		"no table":       func(o *OpenSIPSOptions) { o.Table = "" },
	} {
		o := good
		change(&o)
		if _, err := NewOpenSIPS(o); err == nil {
			t.Error(name)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","method":"E_UL_CONTACT_INSERT","params":{"domain":"location","aor":"1001@example.net","callid":"c","cseq":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, ok := parseEvent(data, "location")
		if ok && (h.AOR == "" || len(h.AOR) > aorLimit || !plain(h.AOR) || h.Known) {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzParseMI(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","result":{"AOR":"1","Contacts":[{"Contact":"sip:1","Expires":5,"Q":"0.5","Cseq":1e99}]},"id":"a"}`))
	o := &OpenSIPS{options: DefaultOpenSIPSOptions()}
	f.Fuzz(func(t *testing.T, data []byte) {
		result, ours, err := parseMI(data, "a")
		if !ours || err != nil {
			return
		}
		var r struct{ Contacts []openSIPSContact }
		if json.Unmarshal(result, &r) != nil {
			return
		}
		for i := range r.Contacts {
			if b, ok := o.binding(&r.Contacts[i], 0); ok && (b.Contact == "" || b.Expires <= 0 || b.Q > 1000) {
				t.Errorf("%+v", b)
			}
		}
	})
}
