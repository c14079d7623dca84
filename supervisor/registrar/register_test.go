package registrar

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// sipRequest is a request as the servers of the tests see it.
type sipRequest struct {
	line    string
	headers map[string]string
	from    netip.AddrPort
}

func parseRequest(data []byte, from netip.AddrPort) sipRequest {
	lines := strings.Split(strings.TrimSuffix(string(data), "\r\n\r\n"), "\r\n")
	r := sipRequest{line: lines[0], headers: map[string]string{}, from: from}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		r.headers[name] = value
	}
	return r
}

func (r *sipRequest) answer(status string, more ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %s\r\nVia: %s;received=%s\r\nFrom: %s\r\nTo: %s;tag=1\r\nCall-ID: %s\r\nCSeq: %s\r\n", status, r.headers["Via"],
		r.from.Addr(), r.headers["From"], r.headers["To"], r.headers["Call-ID"], r.headers["CSeq"])
	for _, h := range more {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.Bytes()
}

func (r *sipRequest) seconds() int {
	n, _ := strconv.Atoi(r.headers["Expires"])
	return n
}

func (r *sipRequest) contact() string {
	_, uri, _ := strings.Cut(r.headers["Contact"], "<")
	uri, _, _ = strings.Cut(uri, ">")
	return uri
}

// fakeRegistrar answers REGISTERs as handle says; nil answers 200.
type fakeRegistrar struct {
	conn   *net.UDPConn
	mu     sync.Mutex
	got    []sipRequest
	handle func(n int, r *sipRequest) [][]byte
}

func newFakeRegistrar(t *testing.T, address string, handle func(int, *sipRequest) [][]byte) *fakeRegistrar {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRegistrar{conn: conn, handle: handle}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			r := parseRequest(buffer[:n], from)
			f.mu.Lock()
			f.got = append(f.got, r)
			count := len(f.got)
			f.mu.Unlock()
			answers := [][]byte{r.answer("200 OK", "Contact: "+r.headers["Contact"])}
			if f.handle != nil {
				answers = f.handle(count, &r)
			}
			for _, a := range answers {
				_, _ = conn.WriteToUDPAddrPort(a, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return f
}

func (f *fakeRegistrar) address() netip.AddrPort { return f.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (f *fakeRegistrar) requests() []sipRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func testClient(t *testing.T, f *fakeRegistrar) *registerClient {
	t.Helper()
	c := newRegisterClient(registerOptions{Server: f.address(), T1: 30 * time.Millisecond, Limit: 3 * time.Second, Window: 4})
	t.Cleanup(func() { c.Close() })
	return c
}

// RFC 3261, 10.2 and RFC 3327, 5.1 and RFC 5626, 4.2: a REGISTER says all that is known of a binding.
func TestRegisterClient_saysAll(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", nil)
	b := binding("1001")
	b.Path, b.Instance, b.RegID, b.Methods = "<sip:edge@198.51.100.1;lr>", "<urn:uuid:1>", 2, 1|8
	a, err := testClient(t, f).do(t.Context(), registration{
		aor: "1001@example.net", binding: b, seconds: 300, headers: [][2]string{{HeaderReceived, b.Received}, {HeaderSocket, ""}}, methods: openSIPSMethods,
	})
	if err != nil || !a.ok() || a.granted != 300*time.Second {
		t.Fatalf("%+v, %v", a, err)
	}
	r := f.requests()[0]
	for name, want := range map[string]string{
		"To": "<sip:1001@example.net>", "Call-ID": b.CallID, "CSeq": "41 REGISTER", "Expires": "300", "Path": b.Path, "User-Agent": b.UserAgent,
		"Contact": `<sip:1001@192.0.2.7:5062>;expires=300;q=0.700;+sip.instance="<urn:uuid:1>";reg-id=2`, "Allow": "INVITE, BYE", HeaderReceived: b.Received,
		"Supported": "path, outbound",
	} {
		if r.headers[name] != want {
			t.Errorf("%s: got %q, want %q", name, r.headers[name], want)
		}
	}
	if _, ok := r.headers[HeaderSocket]; ok || r.line != "REGISTER sip:example.net SIP/2.0" {
		t.Errorf("%+v", r)
	}
}

// RFC 3261, 17.1.2: what is lost is repeated, with the same branch; a provisional answer ends nothing; answers to others are not ours, nor
// are those that come from elsewhere.
func TestRegisterClient_transaction(t *testing.T) {
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	f := newFakeRegistrar(t, "127.0.0.1:0", func(n int, r *sipRequest) [][]byte {
		_, _ = stranger.WriteTo(r.answer("403 Forged"), net.UDPAddrFromAddrPort(r.from))
		if n < 3 {
			return nil
		}
		other := *r
		other.headers = map[string]string{"Via": "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKother"}
		return [][]byte{[]byte("nonsense"), other.answer("404 Not Found"), r.answer("100 Trying"), r.answer("200 OK")}
	})
	c := testClient(t, f)
	for range 2 { // the second time with the same socket
		if a, err := c.do(t.Context(), registration{aor: "1001@example.net", binding: binding("1001"), seconds: 60}); err != nil || a.code != 200 || a.granted != -1 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	got := f.requests()
	if len(got) != 4 || got[0].headers["Via"] != got[2].headers["Via"] || got[3].headers["Via"] == got[2].headers["Via"] || len(c.idle.kept) != 1 {
		t.Errorf("%d requests, %d sockets", len(got), len(c.idle.kept))
	}
}

// RFC 3261, 22: a challenge is answered, the request that counts has the phone's CSeq, and the next one needs no challenge any more.
func TestRegisterClient_digest(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", func(_ int, r *sipRequest) [][]byte {
		credentials, err := digest.ParseCredentials(r.headers["Authorization"])
		if err == nil {
			want, _ := digest.Digest(&digest.Challenge{Realm: "example.net", Nonce: "n1", QOP: []string{"auth"}, Algorithm: "MD5"}, digest.Options{
				Method: "REGISTER", URI: "sip:example.net", Username: "1001", Password: "secret", Count: credentials.Nc, Cnonce: credentials.Cnonce,
			})
			if want.Response == credentials.Response {
				return [][]byte{r.answer("200 OK")}
			}
		}
		return [][]byte{r.answer("401 Unauthorized", `WWW-Authenticate: Digest realm="example.net", nonce="n1", qop="auth", algorithm=MD5`)}
	})
	c := testClient(t, f)
	r := registration{aor: "1001@example.net", binding: binding("1001"), seconds: 60, username: "1001", password: "secret"}
	for range 2 {
		if a, err := c.do(t.Context(), r); err != nil || a.code != 200 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	var numbers []string
	for _, r := range f.requests() {
		numbers = append(numbers, r.headers["CSeq"])
	}
	if want := []string{"40 REGISTER", "41 REGISTER", "41 REGISTER"}; !slices.Equal(numbers, want) {
		t.Errorf("got %v, want %v", numbers, want)
	}
	r.password = "wrong"
	if a, err := c.do(t.Context(), r); err != nil || a.code != 401 {
		t.Errorf("%+v, %v", a, err)
	}
}

// A server that is gone is reported within the limit, and at once where its host says so.
func TestRegisterClient_nobody(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", func(int, *sipRequest) [][]byte { return nil })
	c := testClient(t, f)
	c.options.Limit = 200 * time.Millisecond
	r := registration{aor: "1001@example.net", binding: binding("1001"), seconds: 60}
	if _, err := c.do(t.Context(), r); err == nil || strings.Contains(err.Error(), "1001") {
		t.Errorf("got %v", err)
	}
	f.conn.Close()
	c.options.Limit = time.Minute
	if _, err := c.do(t.Context(), r); err == nil {
		t.Error("no error")
	}
}

// No more transactions than the window at a time, however many ask.
func TestRegisterClient_window(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", func(n int, r *sipRequest) [][]byte {
		if n%5 == 0 {
			return nil // keeps the others waiting until it is repeated
		}
		return [][]byte{r.answer("200 OK")}
	})
	c := testClient(t, f)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := c.do(t.Context(), registration{aor: "1@x", binding: binding("1"), seconds: 60}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	ports := map[uint16]bool{}
	for _, r := range f.requests() {
		ports[r.from.Port()] = true
	}
	if len(c.idle.kept) > 4 || len(ports) > 4 {
		t.Errorf("%d sockets are kept, %d were used", len(c.idle.kept), len(ports))
	}
}

// A field that would end its header is refused wherever it is, and so are those that can't be what they should.
func TestRegistration_refuses(t *testing.T) {
	for name, change := range map[string]func(*registration){
		"CR in Contact":    func(r *registration) { r.binding.Contact += "\r" },
		"LF in Path":       func(r *registration) { r.binding.Path = "<sip:x>\nX: y" },
		"NUL in agent":     func(r *registration) { r.binding.UserAgent = "a\x00b" },
		"line in Call-ID":  func(r *registration) { r.binding.CallID = "a\r\nX: y" },
		"line in header":   func(r *registration) { r.headers = [][2]string{{"X", "a\r\nY: b"}} },
		"line in AOR":      func(r *registration) { r.aor = "a@b\r\nX: y" },
		"bracket":          func(r *registration) { r.binding.Contact = "sip:a@b>;x=<sip:c@d" },
		"quote":            func(r *registration) { r.binding.Instance = `a";x="b` },
		"no domain":        func(r *registration) { r.aor = "1001" },
		"no Call-ID":       func(r *registration) { r.binding.CallID = "" },
		"64 KiB of header": func(r *registration) { r.binding.Path = strings.Repeat("x", 64<<10) },
	} {
		r := registration{aor: "1001@example.net", binding: binding("1001"), seconds: 60}
		change(&r)
		if b, err := r.octets(netip.MustParseAddrPort("127.0.0.1:1"), "z9hG4bK12345678", ""); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
}

func FuzzRegistration_octets(f *testing.F) {
	f.Add("1001@example.net", "sip:1001@192.0.2.7", "c1", "agent", "<sip:p>", "<urn:uuid:1>")
	f.Fuzz(func(t *testing.T, aor, contact, callID, agent, path, instance string) {
		r := registration{aor: aor, seconds: 60, binding: location.Binding{
			Contact: contact, CallID: callID, UserAgent: agent, Path: path, Instance: instance, Q: location.NoQ, CSeq: 1,
		}}
		data, err := r.octets(netip.MustParseAddrPort("127.0.0.1:1"), "z9hG4bK12345678", "")
		if err != nil {
			return
		}
		lines := strings.Split(string(data), "\r\n")
		want := 12
		for _, s := range []string{agent, path, path} {
			if s != "" {
				want++
			}
		}
		if len(lines) != want || strings.Count(string(data), "\n") != want-1 || strings.Count(string(data), "\r") != want-1 {
			t.Errorf("%d lines, want %d: %q", len(lines), want, data)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9\r\nContact: <sip:a>;expires=3, <sip:b>;expires=4\r\n\r\n"), "sip:b")
	f.Add([]byte("SIP/2.0 401 No\r\nv: SIP/2.0/UDP a;branch=z9\r\nWWW-Authenticate: Digest\r\n realm=\"x\"\r\n\r\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, contact string) {
		m, ok := parseMessage(data)
		if !ok {
			return
		}
		if m.code < 100 || m.code > 999 || len(m.reason) > 3*reasonLimit || strings.ContainsAny(m.reason, "\r\n\x00") {
			t.Errorf("%+v", m)
		}
		if g := m.granted(contact); g < -1 {
			t.Errorf("granted %v", g)
		}
	})
}
