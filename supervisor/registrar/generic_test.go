package registrar

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// strictRegistrar keeps what REGISTERs make of it, and is strict about the order of their numbers (RFC 3261, 10.3).
type strictRegistrar struct {
	mu       sync.Mutex
	contacts map[string]map[string]sipRequest // by To and Contact
}

func (s *strictRegistrar) handle(_ int, r *sipRequest) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contacts == nil {
		s.contacts = map[string]map[string]sipRequest{}
	}
	list := s.contacts[r.headers["To"]]
	if list == nil {
		list = map[string]sipRequest{}
		s.contacts[r.headers["To"]] = list
	}
	if old, ok := list[r.contact()]; ok && old.headers["Call-ID"] == r.headers["Call-ID"] {
		var before, now int
		_, _ = fmt.Sscanf(old.headers["CSeq"], "%d", &before)
		_, _ = fmt.Sscanf(r.headers["CSeq"], "%d", &now)
		if now <= before {
			return [][]byte{r.answer("500 Server Internal Error")}
		}
	}
	if r.seconds() == 0 {
		delete(list, r.contact())
	} else {
		list[r.contact()] = *r
	}
	return [][]byte{r.answer("200 OK", "Contact: <"+r.contact()+">;expires=120")}
}

func (s *strictRegistrar) of(aor string) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	contacts := map[string]bool{}
	for c := range s.contacts["<sip:"+aor+">"] {
		contacts[c] = true
	}
	return contacts
}

func (s *strictRegistrar) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contacts = nil
}

func newTestGeneric(t *testing.T, at netip.AddrPort, change func(*GenericOptions)) *Generic {
	t.Helper()
	o := DefaultGenericOptions()
	o.Register, o.Domain, o.Now, o.Limit = at, "example.net", testNow, 3*time.Second
	if change != nil {
		change(&o)
	}
	g, err := NewGeneric(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// A registrar that can't be asked gets what is wanted, loses what is not, takes the same again, and gets it back after it has lost it.
func TestGeneric_applies(t *testing.T) {
	s := &strictRegistrar{}
	f := newFakeRegistrar(t, "127.0.0.1:0", s.handle)
	g := newTestGeneric(t, f.address(), nil)
	one, two, nameless := binding("1001"), binding("1001"), binding("1001")
	two.Contact, two.CallID = "sip:1001@192.0.2.8", "2"
	nameless.Contact, nameless.CallID, nameless.CSeq = "sip:1001@192.0.2.9", "", 0
	check := func(step string, want []location.Binding) {
		t.Helper()
		if err := g.Apply(t.Context(), "1001", want); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		got := s.of("1001@example.net")
		for i := range want {
			if !got[want[i].Contact] {
				t.Errorf("%s: %s is missing", step, want[i].Contact)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v", step, got)
		}
	}
	check("new", []location.Binding{one, two, nameless})
	check("the same", []location.Binding{one, two, nameless})
	s.forget()
	check("after its restart", []location.Binding{one, two, nameless})
	check("less", []location.Binding{two})
	two.CSeq++
	check("refreshed", []location.Binding{two})
	check("none", nil)
	check("back", []location.Binding{one})
	if _, err := g.Lookup(t.Context(), "1001"); !errors.Is(err, ErrCannotAsk) {
		t.Error(err)
	}
	if err := g.Watch(t.Context(), nil); !errors.Is(err, ErrNoPush) {
		t.Error(err)
	}
}

// RFC 3261, 22.2: each address of record is registered with its own credentials.
func TestGeneric_credentials(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", func(_ int, r *sipRequest) [][]byte {
		user := strings.TrimSuffix(strings.TrimPrefix(r.headers["To"], "<sip:"), "@example.net>")
		credentials, err := digest.ParseCredentials(r.headers["Proxy-Authorization"])
		challenge := digest.Challenge{Realm: "x", Nonce: "n", QOP: []string{"auth"}, Algorithm: "SHA-256"}
		if err == nil && credentials.Username == user {
			want, _ := digest.Digest(&challenge, digest.Options{
				Method: "REGISTER", URI: "sip:example.net", Username: user, Password: "secret of " + user, Count: credentials.Nc, Cnonce: credentials.Cnonce,
			})
			if want.Response == credentials.Response {
				return [][]byte{r.answer("200 OK")}
			}
		}
		return [][]byte{r.answer("407 Proxy Authentication Required", "Proxy-Authenticate: "+challenge.String())}
	})
	g := newTestGeneric(t, f.address(), func(o *GenericOptions) {
		o.Credentials = func(aor string) (string, string) {
			user, _, _ := strings.Cut(aor, "@")
			if user == "1003" {
				return user, "forgotten"
			}
			return user, "secret of " + user
		}
	})
	for _, user := range []string{"1001", "1002"} {
		if err := g.Apply(t.Context(), user, []location.Binding{binding(user)}); err != nil {
			t.Error(err)
		}
	}
	if err := g.Apply(t.Context(), "1003", []location.Binding{binding("1003")}); err == nil || !strings.Contains(err.Error(), "407") {
		t.Errorf("got %v", err)
	}
}

// What is refused is told, and removed all the same when it is not wanted any more, as it may have arrived.
func TestGeneric_refused(t *testing.T) {
	var mu sync.Mutex
	status := "403 Forbidden"
	f := newFakeRegistrar(t, "127.0.0.1:0", func(_ int, r *sipRequest) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return [][]byte{r.answer(status)}
	})
	g := newTestGeneric(t, f.address(), nil)
	if err := g.Apply(t.Context(), "1001", []location.Binding{binding("1001")}); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Fatalf("got %v", err)
	}
	if err := g.Apply(t.Context(), "1001", nil); err == nil {
		t.Fatal("no error")
	}
	mu.Lock()
	status = "200 OK"
	mu.Unlock()
	if err := g.Apply(t.Context(), "1001", nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(t.Context(), "1001", nil); err != nil {
		t.Fatal(err)
	}
	got := f.requests()
	if len(got) != 3 || got[2].headers["Expires"] != "0" || len(g.applied) != 0 {
		t.Errorf("%d requests, %d remembered", len(got), len(g.applied))
	}
}

// 10,000 contacts of one address of record and more of these than there is memory for cost what they may.
func TestGeneric_bounded(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", nil)
	g := newTestGeneric(t, f.address(), func(o *GenericOptions) { o.Remember = 3 })
	var many []location.Binding
	for i := range 10000 {
		b := binding("1001")
		b.Contact = fmt.Sprintf("sip:1001@192.0.2.7:%d", i+1)
		many = append(many, b)
	}
	if err := g.Apply(t.Context(), "1001", many); err == nil || !strings.Contains(err.Error(), "9936") {
		t.Errorf("got %v", err)
	}
	if n := len(f.requests()); n != contactsLimit {
		t.Errorf("%d REGISTERs", n)
	}
	for i := range 5 {
		if err := g.Apply(t.Context(), fmt.Sprint(i), []location.Binding{binding("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.applied) != 3 || g.order.Len() != 3 || g.remembered("4") == nil || g.remembered("1001") != nil {
		t.Errorf("%d are remembered", len(g.applied))
	}
}

// netSIP is the registrar and proxy of Debian's libnet-sip-perl, made by others and after the same RFC.
func netSIP(t *testing.T) netip.AddrPort {
	t.Helper()
	const program = "/usr/share/doc/libnet-sip-perl/examples/bin/stateless_proxy.pl"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("libnet-sip-perl is not installed, or without its examples; contrib/lab/setup.sh installs it")
	}
	at := freePort(t)
	perl := exec.Command("perl", program, "--leg", at, "--registrar", "--domain", "example.net")
	if err := perl.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = perl.Process.Kill(); _ = perl.Wait() })
	return netip.MustParseAddrPort(at)
}

// reaches sends a request for the address of record to the proxy and reports whether the phone gets it.
func reaches(t *testing.T, proxy netip.AddrPort, phone *net.UDPConn, method string) bool {
	t.Helper()
	caller, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(proxy))
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	branch := newBranch()
	fmt.Fprintf(caller, "%s sip:1001@example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:2@example.net>;tag=%s\r\n"+
		"To: <sip:1001@example.net>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:2@%s>\r\nContent-Length: 0\r\n\r\n",
		method, caller.LocalAddr(), branch, branch, branch, method, caller.LocalAddr())
	buffer := make([]byte, 1<<16)
	for deadline := time.Now().Add(500 * time.Millisecond); ; {
		_ = phone.SetReadDeadline(deadline)
		n, err := phone.Read(buffer)
		if err != nil {
			return false
		}
		if r := string(buffer[:n]); strings.HasPrefix(r, method+" ") && strings.Contains(r, branch) {
			return true
		}
	}
}

// A replayed binding is called by a registrar that was made by others, until it is removed, and after a restart once it is applied again.
func TestGeneric_otherServer(t *testing.T) {
	proxy := netSIP(t)
	phone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	g := newTestGeneric(t, proxy, nil)
	b := binding("1001")
	b.Contact, b.Received, b.Expires = fmt.Sprintf("sip:1001@%s", phone.LocalAddr()), "", in(200)
	eventually(t, "no 200", func() bool { return g.Apply(t.Context(), "1001@example.net", []location.Binding{b}) == nil })
	for _, method := range []string{"OPTIONS", "INVITE"} {
		if !reaches(t, proxy, phone, method) {
			t.Errorf("%s does not reach the phone", method)
		}
	}
	if err := g.Apply(t.Context(), "1001@example.net", nil); err != nil {
		t.Fatal(err)
	}
	if reaches(t, proxy, phone, "OPTIONS") {
		t.Error("the binding is still there")
	}
}
