package registrar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

func mustLookup(t *testing.T, k *Kamailio, aor string) []location.Binding {
	t.Helper()
	got, err := k.Lookup(bounded(t), aor)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b location.Binding) int { return strings.Compare(a.Key(), b.Key()) })
	return got
}

// same compares what two servers have, but for the rounding of expiry.
func sameBindings(t *testing.T, got, want []location.Binding) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d bindings %+v, want %d %+v", len(got), got, len(want), want)
	}
	for i := range want {
		if !got[i].Same(&want[i]) {
			t.Errorf("binding %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// variety registers bindings of every kind and gives them by address of record, without socket and expiry.
func variety(t *testing.T, server *kamailioServer) map[string][]location.Binding {
	udp, tcp := server.dial(t, "udp"), server.dial(t, "tcp")
	plainBinding := func(b location.Binding) location.Binding {
		b.Methods = location.AllMethods
		b.CSeq = max(b.CSeq, 1)
		return b
	}
	udp.register("plain@example.net", "plain", 1, "Contact: <sip:plain@127.0.0.9:5070>;expires=600\r\nUser-Agent: Phone \"1\" & <co>, ünï\r\n")
	udp.register("q@example.net", "q", 7, "Contact: <sip:q@127.0.0.9:5070>;q=0.75;expires=600\r\nAllow: INVITE, ACK, CANCEL, BYE, FOO\r\n")
	udp.register("one@example.net", "one", 1, "Contact: <sip:one@127.0.0.9>;q=1;expires=600\r\n")
	udp.register("path@example.net", "path", 2, "Supported: path\r\nContact: <sip:path@10.0.0.9>;expires=600\r\n"+
		"Path: <sip:p1@127.0.0.8;lr;received=sip:1.2.3.4:5>,\r\n <sip:p2@127.0.0.8;lr>\r\nPath: <sip:p3@127.0.0.8;lr>\r\n")
	udp.register("nat@example.net", "nat", 3, "X-NAT: yes\r\nContact: <sip:nat@192.168.1.2:5060>;expires=600\r\nUser-Agent: folded\r\n  agent\r\n")
	udp.register("instance@example.net", "instance", 4, "Supported: path, outbound\r\nContact: <sip:i@192.168.1.2:5060>;expires=600;"+
		"+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=2\r\n")
	udp.register("several@example.net", "several", 5, "Contact: <sip:s1@127.0.0.9;x=1?h=2>;expires=600, <sip:s2@127.0.0.9>;q=0.001;expires=900\r\n")
	udp.register("several@example.net", "other", 9, "Contact: <sip:s3@127.0.0.9>;expires=3000\r\n")
	tcp.register("tcp@example.net", "tcp", 1, "X-NAT: yes\r\nContact: <sip:tcp@192.168.1.2:5060;transport=tcp>;expires=600\r\n")
	udp.register("%41%20b%25@Example.NET", "escapes", 1, "Contact: <sip:%41%20b@127.0.0.9>;expires=600\r\n")
	udp.register("short@example.net", "short", 1, "Contact: <sip:short@127.0.0.9>;expires=60\r\n")
	return map[string][]location.Binding{
		"plain@example.net": {plainBinding(location.Binding{Contact: "sip:plain@127.0.0.9:5070", Q: -1, CallID: "plain", UserAgent: "Phone \"1\" & <co>, ünï"})},
		"q@example.net":     {{Contact: "sip:q@127.0.0.9:5070", Q: 750, CallID: "q", CSeq: 7, Methods: 1 | 2 | 4 | 8 | 1<<19}},
		"one@example.net":   {plainBinding(location.Binding{Contact: "sip:one@127.0.0.9", Q: 1000, CallID: "one"})},
		"path@example.net": {plainBinding(location.Binding{
			Contact: "sip:path@10.0.0.9", Q: -1, CallID: "path", CSeq: 2,
			Path: "<sip:p1@127.0.0.8;lr;received=sip:1.2.3.4:5>, <sip:p2@127.0.0.8;lr>,<sip:p3@127.0.0.8;lr>",
		})},
		"nat@example.net": {plainBinding(location.Binding{
			Contact: "sip:nat@192.168.1.2:5060", Q: -1, CallID: "nat", CSeq: 3, UserAgent: "folded agent",
			Received: "sip:" + udp.LocalAddr().String(), Branch: 1 << 6,
		})},
		"instance@example.net": {plainBinding(location.Binding{
			Contact: "sip:i@192.168.1.2:5060", Q: -1, CallID: "instance", CSeq: 4,
			Instance: "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>", RegID: 2,
		})},
		"several@example.net": {
			plainBinding(location.Binding{Contact: "sip:s1@127.0.0.9;x=1?h=2", Q: -1, CallID: "several", CSeq: 5}),
			plainBinding(location.Binding{Contact: "sip:s2@127.0.0.9", Q: 1, CallID: "several", CSeq: 5}),
			plainBinding(location.Binding{Contact: "sip:s3@127.0.0.9", Q: -1, CallID: "other", CSeq: 9}),
		},
		"tcp@example.net": {plainBinding(location.Binding{
			Contact: "sip:tcp@192.168.1.2:5060;transport=tcp", Q: -1, CallID: "tcp", Received: "sip:" + tcp.LocalAddr().String() + ";transport=tcp", Branch: 1 << 6,
		})},
		"a b%@example.net":  {plainBinding(location.Binding{Contact: "sip:%41%20b@127.0.0.9", Q: -1, CallID: "escapes"})},
		"short@example.net": {plainBinding(location.Binding{Contact: "sip:short@127.0.0.9", Q: -1, CallID: "short"})},
	}
}

// Every field of what phones register is read as it was sent.
func TestKamailio_Lookup(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	before, err := a.Count(bounded(t))
	if err != nil || before != 0 {
		t.Errorf("count: got %d, %v, want 0", before, err)
	}
	total := 0
	for aor, want := range variety(t, server) {
		got := mustLookup(t, a, aor)
		total += len(want)
		for i := range got {
			transport := "udp"
			if strings.HasPrefix(aor, "tcp") {
				transport = "tcp"
			}
			if socket := fmt.Sprintf("%s:127.0.0.1:%d", transport, server.Port); got[i].Socket != socket {
				t.Errorf("%s: got socket %q, want %q", aor, got[i].Socket, socket)
			}
			if left := got[i].Expires - time.Since(server.began); left < 55*time.Second || left > 3001*time.Second {
				t.Errorf("%s: %v left", aor, left)
			}
			got[i].Socket, got[i].Expires = "", 0
		}
		sameBindings(t, got, want)
	}
	if n, err := a.Count(bounded(t)); err != nil || n != total {
		t.Errorf("count: got %d, %v, want %d", n, err, total)
	}
	if got := mustLookup(t, a, "nobody@example.net"); got != nil {
		t.Errorf("got %+v for who is not registered", got)
	}
	if _, err := a.Lookup(bounded(t), "no\x00thing"); err == nil {
		t.Error("no error for an address that is none")
	}
	if _, err := a.Lookup(bounded(t), "nodomain"); err == nil || !strings.Contains(err.Error(), "Domain missing") {
		t.Errorf("got %v for an address without a domain", err)
	}
}

// An answer that does not fit into a datagram is lost, and the error says so; the next question is answered.
func TestKamailio_LookupTooLong(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t, func(o *KamailioOptions) { o.Limit = time.Second })
	pad := strings.Repeat("x", 200)
	for i := range 300 {
		if err := a.rpc.call(bounded(t), nil, "ul.add", "location", "many@example.net", fmt.Sprintf("sip:%d%s@127.0.0.9", i, pad), 600, -1.0, ".", 0, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Lookup(bounded(t), "many@example.net"); !errors.Is(err, errTooLong) {
		t.Errorf("got %v", err)
	}
	mustLookup(t, a, "nobody@example.net")
}

// Watch tells of registrations, refreshes and what ends them; what it tells is what a look-up then finds. Nothing comes of other datagrams.
func TestKamailio_Watch(t *testing.T) {
	for _, domain := range []int{1, 0} {
		t.Run(fmt.Sprintf("use_domain %d", domain), func(t *testing.T) {
			server := startKamailio(t, func(k *kamailioServer) { k.Domain = domain })
			a := server.adapter(t)
			hints := make(chan Hint, 100)
			ctx, cancel := context.WithCancel(bounded(t))
			done := make(chan error, 1)
			go func() { done <- a.Watch(ctx, func(h Hint) { hints <- h }) }()
			awaitListener(t, server.Push)
			forge(t, server.Push)
			udp := server.dial(t, "udp")
			aor := "alice@example.net"
			if domain == 0 {
				aor = "alice"
			}
			for i, contact := range []string{
				"Contact: <sip:a@127.0.0.9>;q=0.5;expires=600;+sip.instance=\"<urn:x>\";reg-id=3\r\nUser-Agent: x\r\n  y\r\n",
				"Contact: <sip:a@127.0.0.9>;expires=900;+sip.instance=\"<urn:x>\";reg-id=3\r\nX-NAT: yes\r\n",
				"Contact: <sip:b@127.0.0.9>;expires=900\r\nSupported: path\r\nPath: <sip:127.0.0.8;lr>\r\n",
				"Contact: <sip:a@127.0.0.9>;expires=0;+sip.instance=\"<urn:x>\";reg-id=3\r\n",
				"Contact: *\r\nExpires: 0\r\n",
			} {
				udp.register("%41lice@Example.net", "c", i+1, contact)
				h := <-hints
				if h.AOR != aor || h.CallID != "c" || h.CSeq != uint32(i+1) || h.Known {
					t.Errorf("%d: got %+v", i, h)
				}
				slices.SortFunc(h.Bindings, func(a, b location.Binding) int { return strings.Compare(a.Key(), b.Key()) })
				sameBindings(t, h.Bindings, mustLookup(t, a, h.AOR))
			}
			for i := range 20 { // more than are told
				udp.register("bob@example.net", "c", i+1, fmt.Sprintf("Contact: <sip:%d@127.0.0.9>;expires=900\r\n", i))
				if h := <-hints; !strings.HasPrefix(h.AOR, "bob") || i < 16 != (len(h.Bindings) == i+1) {
					t.Errorf("got %+v", h)
				}
			}
			if a.Malformed() == 0 {
				t.Error("the forged datagrams were not counted")
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// awaitListener returns when somebody has the UDP port.
func awaitListener(t *testing.T, port int) {
	t.Helper()
	for range 500 {
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody listens for changes")
}

// forge sends what is not of the route.
func forge(t *testing.T, port int) {
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range []string{"", "x", "CS1 \r\n", "CS1 a\xff@b\r\nt=1\r\nn=0\r\n", "CS1 " + strings.Repeat("a", 60000) + "@b\r\nt=1\r\nn=0\r\n"} {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
}

// A restart shows, also to who has sockets open; while the server is gone, errors say so and none of its questions hang.
func TestKamailio_Generation(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	first, err := a.Generation(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Generation(bounded(t)); again != first || err != nil {
		t.Errorf("got %q, %v, want %q", again, err, first)
	}
	w := location.Binding{Contact: "sip:x@127.0.0.9", Q: -1, CallID: "x", CSeq: 5, Methods: location.AllMethods, Expires: time.Since(server.began) + 600*time.Second}
	mustApply(t, a, "x@example.net", []location.Binding{w})
	server.stop()
	if _, err := a.Generation(bounded(t)); err == nil {
		t.Error("no error from a server that is gone")
	}
	if err := a.Apply(bounded(t), "x@example.net", []location.Binding{w}); err == nil {
		t.Error("no error from a server that is gone")
	}
	server.start(t)
	if second, err := a.Generation(bounded(t)); second == first || err != nil {
		t.Errorf("got %q, %v, before the restart %q", second, err, first)
	}
	mustApply(t, a, "x@example.net", []location.Binding{w})
	if got := mustLookup(t, a, "x@example.net"); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

// The socket may be UDP too.
func TestKamailio_RPCByUDP(t *testing.T) {
	port := freePorts(t, 1)[0]
	server := startKamailio(t, func(k *kamailioServer) { k.RPC = fmt.Sprintf("udp:127.0.0.1:%d", port) })
	a := server.adapter(t)
	server.dial(t, "udp").register("x@example.net", "c", 1, "Contact: <sip:x@127.0.0.9>;expires=600\r\n")
	if got := mustLookup(t, a, "x@example.net"); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

// Options that make no sense are told at once.
func TestNewKamailio_options(t *testing.T) {
	for name, change := range map[string]func(*KamailioOptions){
		"relative path": func(o *KamailioOptions) { o.RPC = "rpc.sock" }, "rpc outside": func(o *KamailioOptions) { o.RPC = "udp:192.0.2.1:80" },
		"replay outside": func(o *KamailioOptions) { o.Replay = netip.MustParseAddrPort("192.0.2.1:5062") },
		"push outside":   func(o *KamailioOptions) { o.Push = netip.MustParseAddrPort("0.0.0.0:5098") },
		"no table":       func(o *KamailioOptions) { o.Table = "" }, "no clock": func(o *KamailioOptions) { o.Now = nil },
		"socket": func(o *KamailioOptions) { o.Sockets = map[string]string{"udp:1.2.3.4:5": "x"} },
	} {
		o := DefaultKamailioOptions()
		o.Now = func() time.Duration { return 0 }
		if _, err := NewKamailio(o); err != nil {
			t.Fatal(err)
		}
		if change(&o); !failsToMake(o) {
			t.Errorf("%s: no error", name)
		}
	}
}

func failsToMake(o KamailioOptions) bool {
	_, err := NewKamailio(o)
	return err != nil
}
