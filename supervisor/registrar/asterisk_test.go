package registrar

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// fakeAsterisk speaks as Asterisk does: the manager interface as main/manager.c (greeting, login, responses, lists), main/db.c (DBGetTree by
// SQL's LIKE), res/res_pjsip/pjsip_options.c (PJSIPShowContacts) and main/stasis_endpoints.c (ContactStatus) write it; the REST interface as
// res/ari/resource_asterisk.c and res/res_ari.c do. The contacts are JSON of strings, as res/res_sorcery_astdb.c keeps them.
type fakeAsterisk struct {
	listener net.Listener
	rest     *httptest.Server
	old      bool // has no DBGetTree
	started  string

	mu     sync.Mutex
	astdb  map[string]string // without the family
	conns  []net.Conn
	events []net.Conn
	mangle func(string) string
	writes int
}

func newFakeAsterisk(t *testing.T, address string) *fakeAsterisk {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeAsterisk{listener: listener, astdb: map[string]string{}, started: "10:00:00"}
	f.rest = httptest.NewServer(http.HandlerFunc(f.ari))
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			wait.Go(func() { f.manage(c) })
		}
	})
	t.Cleanup(func() { f.stop(); wait.Wait() })
	return f
}

func (f *fakeAsterisk) stop() {
	f.listener.Close()
	f.rest.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns, f.events = nil, nil
}

func (f *fakeAsterisk) manage(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "Asterisk Call Manager/13.0.0\r\n")
	r := bufio.NewReader(c)
	authenticated := false
	for {
		m, err := parseAMI(r)
		if err != nil {
			return
		}
		id := ""
		if v := m.get("ActionID"); v != "" {
			id = "ActionID: " + v + "\r\n"
		}
		var out string
		switch action := m.get("Action"); {
		case action == "Login" && m.get("Username") == "understudy" && m.get("Secret") == "secret":
			authenticated = true
			out = "Response: Success\r\n" + id + "Message: Authentication accepted\r\n\r\n"
			if m.get("Events") == "system" {
				out += "Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 10\r\nLastReload: 10\r\nStatus: Fully Booted\r\n\r\n"
				f.mu.Lock()
				f.events = append(f.events, c)
				f.mu.Unlock()
			}
		case !authenticated:
			_, _ = io.WriteString(c, "Response: Error\r\n"+id+"Message: Authentication failed\r\n\r\n")
			return
		case action == "DBGetTree" && !f.old:
			out = f.tree(m.get("Family"), m.get("Key"), id)
		case action == "PJSIPShowContacts":
			out = f.show(id)
		case action == "CoreStatus":
			out = "Response: Success\r\n" + id + "CoreStartupDate: 2026-11-21\r\nCoreStartupTime: " + f.started + "\r\nCoreReloadDate: 2026-11-21\r\n" +
				"CoreReloadTime: 10:00:00\r\nCoreCurrentCalls: 0\r\nCoreProcessedCalls: 0\r\n\r\n"
		default:
			out = "Response: Error\r\n" + id + "Message: Invalid/unknown command: " + action + ". Use Action: ListCommands to show available commands.\r\n\r\n"
		}
		f.mu.Lock()
		if f.mangle != nil && action(m) != "Login" {
			out = f.mangle(out)
		}
		f.mu.Unlock()
		if _, err := io.WriteString(c, out); err != nil {
			return
		}
	}
}

func action(m amiMessage) string { return m.get("Action") }

// like is SQLite's LIKE: case does not matter, "%" is anything, "_" any character.
func like(s, pattern string) bool {
	p := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("(?is)^" + p + "$").MatchString(s)
}

func (f *fakeAsterisk) tree(family, key, id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, n := "Response: Success\r\n"+id+"EventList: start\r\nMessage: Result will follow\r\n\r\n", 0
	for _, k := range f.keys() {
		full := "/registrar/contact/" + k
		if like(full+"/", "/"+family+"/"+key+"/%") {
			out += "Event: DBGetTreeResponse\r\nKey: " + full + "\r\nVal: " + f.astdb[k] + "\r\n" + id + "\r\n"
			n++
		}
	}
	return out + fmt.Sprintf("Event: DBGetTreeComplete\r\n%sEventList: Complete\r\nListItems: %d\r\n\r\n", id, n)
}

func (f *fakeAsterisk) keys() []string {
	var keys []string
	for k := range f.astdb {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (f *fakeAsterisk) show(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.astdb) == 0 {
		return "Response: Error\r\n" + id + "Message: No Contacts found\n\r\n\r\n"
	}
	out := "Response: Success\r\n" + id + "EventList: start\r\nMessage: A listing of Contacts follows, presented as ContactList events\r\n\r\n"
	for _, k := range f.keys() {
		var c map[string]string
		_ = json.Unmarshal([]byte(f.astdb[k]), &c)
		out += "Event: ContactList\r\n" + id + "ObjectType: contact\r\nObjectName: " + k + "\r\nViaAddr: \r\nCallId: " + c["call_id"] + "\r\nRegServer: \r\nPruneOnBoot: no\r\nPath: " +
			c["path"] + "\r\nEndpoint: \r\nViaPort: 0\r\nUri: " + c["uri"] + "\r\nQualifyFrequency: 0\r\nUserAgent: " + c["user_agent"] + "\r\nExpirationTime: " +
			c["expiration_time"] + "\r\nStatus: NonQualified\r\nRoundtripUsec: N/A\r\n\r\n"
	}
	return out + fmt.Sprintf("Event: ContactListComplete\r\n%sEventList: Complete\r\nListItems: %d\r\n\r\n", id, len(f.astdb))
}

func (f *fakeAsterisk) ari(w http.ResponseWriter, r *http.Request) {
	fail := func(code int, message string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"message":"%s"}`, message)
	}
	if user, password, ok := r.BasicAuth(); !ok || user != "ari" || password != "arisecret" {
		fail(401, "Authentication required")
		return
	}
	// As res_ari.c: cut at the slashes first, then each part is decoded, a plus sign to a space (ast_uri_http_legacy).
	segments := strings.Split(r.RequestURI, "/")
	if len(segments) != 8 || strings.Join(segments[:7], "/") != "/ari/asterisk/config/dynamic/res_pjsip/contact" {
		fail(404, "Resource not found")
		return
	}
	id, err := url.QueryUnescape(segments[7])
	if err != nil {
		fail(404, "Resource not found")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	_, exists := f.astdb[id]
	switch r.Method {
	case http.MethodDelete:
		if !exists {
			fail(404, "Object with id '"+id+"' not found")
			return
		}
		delete(f.astdb, id)
		w.WriteHeader(204)
	case http.MethodPut:
		var body struct {
			Fields []struct{ Attribute, Value string }
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			fail(400, "Bad request")
			return
		}
		contact := map[string]string{
			"uri": "", "path": "", "expiration_time": "0", "qualify_frequency": "0", "qualify_timeout": "3.000000", "authenticate_qualify": "no", "outbound_proxy": "",
			"user_agent": "", "endpoint": "", "reg_server": "", "via_addr": "", "via_port": "0", "call_id": "", "prune_on_boot": "no",
		}
		_ = json.Unmarshal([]byte(f.astdb[id]), &contact)
		for _, field := range body.Fields {
			if _, ok := contact[field.Attribute]; !ok {
				fail(400, "Creation of object '"+id+"' failed field value validation")
				return
			}
			contact[field.Attribute] = field.Value
		}
		if contact["uri"] == "" {
			fail(400, "Creation of object '"+id+"' failed field value validation")
			return
		}
		value, _ := json.Marshal(contact)
		f.astdb[id] = string(value)
		_, _ = w.Write([]byte("[]"))
	default:
		fail(405, "Invalid method")
	}
}

// store is what a REGISTER leaves behind.
func (f *fakeAsterisk) store(aor, uri, callID string, seconds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := md5.Sum([]byte(uri))
	value, _ := json.Marshal(map[string]string{
		"uri": uri, "call_id": callID, "expiration_time": strconv.FormatInt(time.Now().Unix()+int64(seconds), 10), "user_agent": "Phone", "path": "", "endpoint": aor,
	})
	f.astdb[aor+";@"+hex.EncodeToString(sum[:])] = string(value)
}

// raise sends a ContactStatus to whoever receives events, and reports whether anyone does.
func (f *fakeAsterisk) raise(aor, status string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.events {
		fmt.Fprintf(c, "Event: ContactStatus\r\nPrivilege: system,all\r\nURI: sip:x@192.0.2.7\r\nContactStatus: %s\r\nAOR: %s\r\nEndpointName: %s\r\n\r\n", status, aor, aor)
	}
	return len(f.events) > 0
}

func newTestAsterisk(t *testing.T, f *fakeAsterisk) *Asterisk {
	t.Helper()
	o := DefaultAsteriskOptions()
	o.Manager, o.Username, o.Secret = f.listener.Addr().String(), "understudy", "secret"
	o.REST, o.RESTUsername, o.RESTPassword = f.rest.URL+"/ari", "ari", "arisecret"
	o.Now, o.Limit = testNow, 3*time.Second
	a, err := NewAsterisk(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// asteriskBinding is what Asterisk can keep of a binding.
func asteriskBinding(user string) location.Binding {
	b := binding(user)
	b.Q, b.CSeq, b.Branch = location.NoQ, 0, 0
	return b
}

// What is applied is what is looked up afterwards, from the database and from the list; other aors, whose names look alike to LIKE, are not
// touched; applying it again writes nothing.
func TestAsterisk_appliesAndLooksUp(t *testing.T) {
	for _, aor := range []string{"1001", "+49 30_1%/x;@y"} {
		for _, list := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s list %v", url.QueryEscape(aor), list), func(t *testing.T) {
				f := newFakeAsterisk(t, "127.0.0.1:0")
				a := newTestAsterisk(t, f)
				a.options.List, f.old = list, list
				if got, err := a.Lookup(t.Context(), aor); err != nil || len(got) != 0 {
					t.Fatalf("%v, %v", got, err)
				}
				for _, other := range []string{aor + "2", "x" + aor, "+49 30A1zz/x;@y", "1OO1"} {
					f.store(other, "sip:other@192.0.2.9", "o", 60)
				}
				one, two := asteriskBinding("1001"), asteriskBinding("1001")
				two.Contact, two.Received, two.Path, two.CallID = "sip:1001@[2001:db8::7]:5060;transport=tcp", "", "<sip:p;lr>", "2"
				want := []location.Binding{one, two}
				for range 2 {
					if err := a.Apply(t.Context(), aor, want); err != nil {
						t.Fatal(err)
					}
				}
				got, err := a.Lookup(t.Context(), aor)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, got, want)
				if f.writes != 2 {
					t.Errorf("%d writes", f.writes)
				}
				one.Expires, one.CallID = in(600), "3"
				if err := a.Apply(t.Context(), aor, []location.Binding{one}); err != nil {
					t.Fatal(err)
				}
				got, _ = a.Lookup(t.Context(), aor)
				equal(t, got, []location.Binding{one})
				if err := a.Apply(t.Context(), aor, nil); err != nil {
					t.Fatal(err)
				}
				if got, err := a.Lookup(t.Context(), aor); err != nil || len(got) != 0 {
					t.Errorf("%v, %v", got, err)
				}
				if len(f.astdb) != 4 {
					t.Errorf("others were touched: %v", f.astdb)
				}
			})
		}
	}
}

// res_pjsip_nat.c: a rewritten Contact is told as the phone and the wire have it, and written as Asterisk would have rewritten it.
func TestAsterisk_rewrittenContact(t *testing.T) {
	for kept, want := range map[string][2]string{
		"sip:1@203.0.113.9:31987;x-ast-orig-host=192.0.2.7:5062":               {"sip:1@192.0.2.7:5062", "sip:203.0.113.9:31987"},
		"sip:1@203.0.113.9:31987;transport=TCP;ob;x-ast-orig-host=192.0.2.7:0": {"sip:1@192.0.2.7;transport=TCP;ob", "sip:203.0.113.9:31987;transport=TCP"},
		"sip:1@192.0.2.7": {"sip:1@192.0.2.7", ""},
	} {
		contact, received := fromAsterisk(kept)
		if contact != want[0] || received != want[1] {
			t.Errorf("%s: got %s and %s", kept, contact, received)
		}
		if got := toAsterisk(&location.Binding{Contact: contact, Received: received}); got != kept {
			t.Errorf("got %s, want %s", got, kept)
		}
	}
	for _, same := range []string{"sip:1@192.0.2.7:5060", "x", "", "sip:", "sip:@"} {
		if got := toAsterisk(&location.Binding{Contact: same, Received: "sip:192.0.2.7:5060"}); got != same {
			t.Errorf("%s became %s", same, got)
		}
	}
}

// Changes are heard of, and after Asterisk was started anew too; so are questions answered.
func TestAsterisk_startedAnew(t *testing.T) {
	f := newFakeAsterisk(t, "127.0.0.1:0")
	f.store("1001", "sip:1001@192.0.2.7", "c", 100)
	a := newTestAsterisk(t, f)
	hints := watching(t, a)
	eventually(t, "nobody listens", func() bool { return f.raise("", "Reachable") })
	f.raise("1001", "Unreachable")
	f.raise("1002", "NonQualified")
	hinted(t, hints, Hint{AOR: "1002"})
	first, err := a.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := f.listener.Addr().String()
	f.stop()
	if _, err := a.Lookup(t.Context(), "1001"); err == nil {
		t.Error("answered by nobody")
	}
	f = newFakeAsterisk(t, address)
	f.started = "11:00:00"
	second, err := a.Generation(t.Context())
	if err != nil || first == second {
		t.Errorf("%q, %q, %v", first, second, err)
	}
	eventually(t, "nobody listens again", func() bool { return f.raise("", "Reachable") })
	f.raise("1001", "Removed")
	hinted(t, hints, Hint{AOR: "1001"})
}

// A connection that died while nobody looked is replaced without an error.
func TestAsterisk_deadConnection(t *testing.T) {
	f := newFakeAsterisk(t, "127.0.0.1:0")
	a := newTestAsterisk(t, f)
	for range 3 {
		if _, err := a.Lookup(t.Context(), "1001"); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
	}
}

// What is no answer ends in an error, in time, and the next question is answered.
func TestAsterisk_malformed(t *testing.T) {
	f := newFakeAsterisk(t, "127.0.0.1:0")
	f.store("1001", "sip:1001@192.0.2.7", "c", 100)
	a := newTestAsterisk(t, f)
	a.options.Limit = 200 * time.Millisecond
	for name, mangle := range map[string]func(string) string{
		"nothing":      func(string) string { return "" },
		"cut off":      func(s string) string { return s[:len(s)/2] },
		"other id":     func(s string) string { return strings.ReplaceAll(s, "ActionID: ", "ActionID: 1") },
		"endless line": func(s string) string { return strings.Repeat("x", 1<<20) + s },
		"big message":  func(s string) string { return strings.Repeat("Event: x\r\n", 1<<16) + s },
		"cancelled":    func(s string) string { return strings.Replace(s, "EventList: Complete", "EventList: Cancelled", 1) },
		"error":        func(s string) string { return strings.Replace(s, "Success", "Error", 1) },
	} {
		f.mu.Lock()
		f.mangle = mangle
		f.mu.Unlock()
		if got, err := a.Lookup(within(t, 5*time.Second), "1001"); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
		f.mu.Lock()
		f.mangle = nil
		f.mu.Unlock()
		if got, err := a.Lookup(t.Context(), "1001"); err != nil || len(got) != 1 {
			t.Errorf("after %s: %v, %v", name, got, err)
		}
	}
	if _, err := a.Lookup(t.Context(), "1001\r\nAction: Logoff"); err == nil {
		t.Error("an aor of two lines was asked for")
	}
	f.mu.Lock()
	f.astdb["1001;@bad"], f.astdb["1001;@worse"], f.astdb["1001;@old"] = "{", `{"uri":"sip:x","expiration_time":"x"}`, `{"uri":"sip:x","expiration_time":"1"}`
	f.mu.Unlock()
	if got, err := a.Lookup(t.Context(), "1001"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// What the REST interface refuses is told, without naming the phone, and the rest is written all the same.
func TestAsterisk_refused(t *testing.T) {
	f := newFakeAsterisk(t, "127.0.0.1:0")
	a := newTestAsterisk(t, f)
	huge := asteriskBinding("1001")
	huge.Path = strings.Repeat("x", restLimit)
	good := asteriskBinding("1002")
	err := a.Apply(t.Context(), "1001", []location.Binding{huge, good})
	if err == nil || strings.Contains(err.Error(), "1001") || f.writes != 1 {
		t.Errorf("%d writes, %v", f.writes, err)
	}
	a.options.RESTPassword = "wrong"
	if err := a.Apply(t.Context(), "1001", nil); err == nil || strings.Contains(err.Error(), "1001") || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v", err)
	}
	a.options.Secret = "wrong"
	a.manager.end()
	if _, err := a.Lookup(t.Context(), "1001"); err == nil || !strings.Contains(err.Error(), "Authentication failed") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseAMI(f *testing.F) {
	f.Add([]byte("Asterisk Call Manager/13.0.0\r\nResponse: Success\r\nActionID: 1\r\n\r\n\r\nEvent: ContactStatus\r\nAOR: 1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(strings.NewReader(string(data)))
		for {
			m, err := parseAMI(r)
			if err != nil {
				return
			}
			if len(m) == 0 {
				t.Fatal("a message of nothing")
			}
			if h, ok := contactHint(m); ok && (h.AOR == "" || !plain(h.AOR)) {
				t.Errorf("%+v", h)
			}
		}
	})
}

func FuzzFromAsterisk(f *testing.F) {
	f.Add("sip:1@203.0.113.9:31987;x-ast-orig-host=192.0.2.7:5062;ob")
	f.Fuzz(func(_ *testing.T, uri string) {
		contact, received := fromAsterisk(uri)
		b := location.Binding{Contact: contact, Received: received}
		canonical(&b)
	})
}
