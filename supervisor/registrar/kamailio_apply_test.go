package registrar

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// pair is two servers, and the adapter of the second, which stands in for the first.
func pair(t *testing.T) (a, b *kamailioServer, from, to *Kamailio) {
	t.Helper()
	a, b = startKamailio(t), startKamailio(t)
	b.began = a.began // one clock
	sockets := map[string]string{}
	for _, transport := range []string{"udp", "tcp"} {
		sockets[fmt.Sprintf("%s:127.0.0.1:%d", transport, a.Port)] = fmt.Sprintf("%s:127.0.0.1:%d", transport, b.Port)
	}
	return a, b, a.adapter(t), b.adapter(t, func(o *KamailioOptions) { o.Sockets = sockets })
}

// counterpart is what the second server should have of the first one's bindings.
func counterpart(a, b *kamailioServer, bindings []location.Binding) []location.Binding {
	out := slices.Clone(bindings)
	for i := range out {
		out[i].Socket = strings.Replace(out[i].Socket, fmt.Sprint(a.Port), fmt.Sprint(b.Port), 1)
	}
	return out
}

func mustApply(t *testing.T, k *Kamailio, aor string, want []location.Binding) {
	t.Helper()
	if err := k.Apply(bounded(t), aor, want); err != nil {
		t.Fatalf("%s: %v", aor, err)
	}
}

// modified tells whether anything was written: Kamailio notes when.
func modified(t *testing.T, k *Kamailio, aor string) string {
	t.Helper()
	var record struct {
		Contacts []struct {
			Contact map[string]any
		}
	}
	if err := k.rpc.call(bounded(t), &record, "ul.lookup", "location", aor); err != nil {
		t.Fatal(err)
	}
	s := ""
	for _, c := range record.Contacts {
		s += fmt.Sprint(c.Contact["Ruid"], c.Contact["Last-Modified"], c.Contact["Last-Keepalive"], c.Contact["CSeq"], " ")
	}
	return s
}

// What the second server then has is, field by field, what the first one has. Applied twice it changes nothing, and a removal removes.
func TestKamailio_ApplyFidelity(t *testing.T) {
	a, b, from, to := pair(t)
	variety(t, a)
	aors := []string{
		"plain@example.net", "q@example.net", "one@example.net", "path@example.net", "nat@example.net", "instance@example.net",
		"several@example.net", "tcp@example.net", "a b%@example.net", "short@example.net",
	}
	if err := from.rpc.call(bounded(t), nil, "ul.add", "location", "static@example.net", "sip:s@127.0.0.9", 0, 0.5, "<sip:127.0.0.8;lr>", 0, 64, 3, "sip:127.0.0.7:9",
		fmt.Sprintf("udp:127.0.0.1:%d", a.Port)); err != nil {
		t.Fatal(err)
	}
	aors = append(aors, "static@example.net")
	time.Sleep(2100 * time.Millisecond) // so that one that lives for a minute has less, and a second writing could be seen
	before := map[string]string{}
	for _, aor := range aors {
		want := mustLookup(t, from, aor)
		mustApply(t, to, aor, want)
		got := mustLookup(t, to, aor)
		if aor == "short@example.net" { // lengthened to min_expires
			if left := got[0].Expires - time.Since(b.began); left < 58*time.Second || left > 61*time.Second {
				t.Errorf("%s: %v left", aor, left)
			}
			got[0].Expires = want[0].Expires
		}
		sameBindings(t, got, counterpart(a, b, want))
		before[aor] = modified(t, to, aor)
	}
	time.Sleep(1100 * time.Millisecond)
	for _, aor := range aors {
		want := mustLookup(t, from, aor)
		mustApply(t, to, aor, want)
		if got := modified(t, to, aor); got != before[aor] {
			t.Errorf("%s was written once more: %s, before %s", aor, got, before[aor])
		}
	}
	for i, aor := range aors {
		want := mustLookup(t, from, aor)
		want = want[:len(want)/2]
		mustApply(t, to, aor, want)
		sameBindings(t, mustLookup(t, to, aor), counterpart(a, b, want))
		if i%2 == 0 {
			mustApply(t, to, aor, want)
		}
	}
	if n, err := to.Count(bounded(t)); err != nil || n != 1 {
		t.Errorf("count: got %d, %v, want 1: one of several", n, err)
	}
	b.quiet(t)
}

// Each field that changes is followed, also where the CSeq stays, which Kamailio itself would refuse.
func TestKamailio_ApplyChanges(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	base := location.Binding{Contact: "sip:x@127.0.0.9", Q: 500, CallID: "x", CSeq: 5, Methods: location.AllMethods, Expires: time.Since(server.began) + 600*time.Second}
	for _, instance := range []string{"", "<urn:x>"} {
		w := base
		w.Instance = instance
		for name, change := range map[string]func(*location.Binding){
			"refresh":   func(b *location.Binding) { b.CSeq++; b.Expires += time.Minute },
			"expiry":    func(b *location.Binding) { b.Expires += time.Minute },
			"shorter":   func(b *location.Binding) { b.Expires -= 30 * time.Second },
			"q":         func(b *location.Binding) { b.Q = location.NoQ },
			"received":  func(b *location.Binding) { b.Received = "sip:127.0.0.7:99"; b.Branch = 64 },
			"path":      func(b *location.Binding) { b.Path = "<sip:127.0.0.8;lr>" },
			"agent":     func(b *location.Binding) { b.UserAgent = "new" },
			"methods":   func(b *location.Binding) { b.Methods = 5 },
			"new start": func(b *location.Binding) { b.CallID = "y"; b.CSeq = 1 },
			"contact":   func(b *location.Binding) { b.Contact = "sip:x@127.0.0.10" },
		} {
			mustApply(t, a, "x@example.net", []location.Binding{w})
			changed := w
			change(&changed)
			mustApply(t, a, "x@example.net", []location.Binding{changed})
			got := mustLookup(t, a, "x@example.net")
			changed.Socket = got[0].Socket
			t.Run(name+instance, func(t *testing.T) { sameBindings(t, got, []location.Binding{changed}) })
			mustApply(t, a, "x@example.net", nil)
		}
	}
}

// Two flows of one phone, which then starts anew: Kamailio ends all flows of an instance that comes with a new Call-ID, so the second one
// has to be there all the same.
func TestKamailio_ApplyFlows(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	flow := func(callID string, id uint32) location.Binding {
		return location.Binding{
			Contact: "sip:x@127.0.0.9", Q: -1, CallID: callID, CSeq: id, Instance: "<urn:x>", RegID: id, Methods: location.AllMethods,
			Expires: time.Since(server.began) + 600*time.Second, Socket: fmt.Sprintf("udp:127.0.0.1:%d", server.Port),
		}
	}
	for _, want := range [][]location.Binding{
		{flow("a", 1), flow("a", 2)}, {flow("b", 1), flow("a", 2)}, {flow("b", 1), flow("b", 2)}, {flow("c", 1), flow("c", 2)}, {flow("c", 2)},
	} {
		mustApply(t, a, "x@example.net", want)
		sameBindings(t, mustLookup(t, a, "x@example.net"), want)
	}
}

// What the phone registers at this server itself is newer than what it is given, and stays: whatever Kamailio would do.
func TestKamailio_ApplyOlder(t *testing.T) {
	for _, instance := range []string{"", ";+sip.instance=\"<urn:x>\""} {
		a, b, from, to := pair(t)
		contact := "Contact: <sip:x@127.0.0.9>;expires=600" + instance + "\r\n"
		a.dial(t, "udp").register("x@example.net", "c", 5, contact)
		stale := mustLookup(t, from, "x@example.net")
		mustApply(t, to, "x@example.net", stale)
		b.dial(t, "udp").register("x@example.net", "c", 6, contact)
		fresh := mustLookup(t, to, "x@example.net")
		if err := to.Apply(bounded(t), "x@example.net", stale); !errors.Is(err, ErrNewer) {
			t.Errorf("got %v", err)
		}
		sameBindings(t, mustLookup(t, to, "x@example.net"), fresh)

		// The phone is faster than us: it registers between our look-up and what we write.
		plan := kamailioPlan{now: time.Since(b.began), minExpires: time.Minute}
		stale[0].CallID = "before-restart"
		steps := plan.steps(fresh, stale)
		steps = append(steps, plan.steps(fresh, nil)...)
		if len(steps) != 2 || !steps[1].remove {
			t.Fatalf("got %+v", steps)
		}
		b.dial(t, "udp").register("x@example.net", "after-it", 1, contact)
		fresh = mustLookup(t, to, "x@example.net")
		for _, s := range steps {
			if got, err := to.register.do(bounded(t), to.registration("x@example.net", s)); err != nil || got.code != 412 {
				t.Errorf("got %+v, %v, want 412", got, err)
			}
		}
		sameBindings(t, mustLookup(t, to, "x@example.net"), fresh)
	}
}

// A phone with an instance that was replayed and then registers here rings once: there is one binding. Written by command, without the
// instance, it makes two of one phone; Apply makes one of them again.
func TestKamailio_rings(t *testing.T) {
	a, b, from, to := pair(t)
	phoneAt, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer phoneAt.Close()
	contact := fmt.Sprintf("Contact: <sip:alice@%s>;expires=600;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\nSupported: outbound\r\n", phoneAt.LocalAddr())
	a.dial(t, "udp").register("alice@example.net", "c", 5, contact)
	mustApply(t, to, "alice@example.net", mustLookup(t, from, "alice@example.net"))
	if n := b.ring(t, phoneAt); n != 1 {
		t.Errorf("replayed: rings %d times", n)
	}
	b.dial(t, "udp").register("alice@example.net", "c", 6, contact)
	if got := mustLookup(t, to, "alice@example.net"); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
	if n := b.ring(t, phoneAt); n != 1 {
		t.Errorf("registered anew: rings %d times", n)
	}
	want := mustLookup(t, to, "alice@example.net")
	mustApply(t, to, "alice@example.net", nil)
	if err := to.rpc.call(bounded(t), nil, "ul.add", "location", "alice@example.net", fmt.Sprintf("sip:alice@%s", phoneAt.LocalAddr()), 600, -1.0, ".", 0, 0, 4294967295); err != nil {
		t.Fatal(err)
	}
	b.dial(t, "udp").register("alice@example.net", "c", 6, contact)
	if n := b.ring(t, phoneAt); n != 2 {
		t.Errorf("added by command: rings %d times, want 2 to show that this test can tell", n)
	}
	mustApply(t, to, "alice@example.net", want)
	sameBindings(t, mustLookup(t, to, "alice@example.net"), want)
	if n := b.ring(t, phoneAt); n != 1 {
		t.Errorf("made equal: rings %d times", n)
	}
	for round, instances := range [][]string{{"", "<urn:a>"}, {"<urn:a>", ""}, {"<urn:b>"}, {"<urn:a>", "<urn:b>", ""}, {""}} { // of one URI
		var bindings []location.Binding
		for i, instance := range instances {
			w := want[0]
			w.Instance, w.CallID, w.CSeq = instance, "shared"+instance, uint32(10*round+i+1)
			if w.RegID = 0; instance != "" {
				w.RegID = 1
			}
			bindings = append(bindings, w)
		}
		mustApply(t, to, "alice@example.net", bindings)
		slices.SortFunc(bindings, func(a, b location.Binding) int { return strings.Compare(a.Key(), b.Key()) })
		sameBindings(t, mustLookup(t, to, "alice@example.net"), bindings)
	}
}

// ring calls alice and gives how many INVITEs reach her phone, which is busy.
func (k *kamailioServer) ring(t *testing.T, at net.PacketConn) int {
	t.Helper()
	caller := k.dial(t, "udp")
	caller.send("INVITE", "sip:alice@example.net", fmt.Sprintf("Call-ID: %d\r\nCSeq: 1 INVITE\r\nX-CS-Sock: x\r\nContact: <sip:c@%s>\r\n", time.Now().UnixNano(), caller.LocalAddr()))
	branches := map[string]bool{}
	buffer := make([]byte, 65536)
	_ = at.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, from, err := at.ReadFrom(buffer)
		if err != nil {
			break
		}
		text := string(buffer[:n])
		if !strings.HasPrefix(text, "INVITE ") {
			continue
		}
		if strings.Contains(text, "X-CS-") {
			t.Errorf("passed on with headers that are only for the replay: %q", text)
		}
		if len(branches) == 0 {
			_ = at.SetReadDeadline(time.Now().Add(400 * time.Millisecond)) // the others come at once or never
		}
		_, branch, _ := strings.Cut(text, "branch=")
		branch, _, _ = strings.Cut(branch, "\r\n")
		branches[branch] = true
		_, head, _ := strings.Cut(text, "\r\n")
		head, _, _ = strings.Cut(head, "\r\nContact")
		_, _ = at.WriteTo([]byte("SIP/2.0 486 Busy Here\r\n"+strings.Replace(head, "To: <sip:alice@example.net>", "To: <sip:alice@example.net>;tag=b", 1)+"\r\nContent-Length: 0\r\n\r\n"), from)
	}
	return len(branches)
}

// A binding that can't be part of a message is an error, does not hinder the others, and nothing of it is sent.
func TestKamailio_ApplyInjection(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	good := location.Binding{Contact: "sip:x@127.0.0.9", Q: -1, CallID: "x", CSeq: 5, Methods: location.AllMethods, Expires: time.Since(server.began) + 600*time.Second}
	for name, spoil := range map[string]func(*location.Binding, string){
		"Contact":    func(b *location.Binding, s string) { b.Contact += s },
		"Call-ID":    func(b *location.Binding, s string) { b.CallID += s },
		"User-Agent": func(b *location.Binding, s string) { b.UserAgent += s },
		"Received":   func(b *location.Binding, s string) { b.Received += s },
		"Path":       func(b *location.Binding, s string) { b.Path = "<sip:127.0.0.8;lr>" + s },
		"Socket":     func(b *location.Binding, s string) { b.Socket = "udp:127.0.0.1:1" + s },
		"Instance":   func(b *location.Binding, s string) { b.Instance = "<urn:x>" + s },
	} {
		for _, octets := range []string{"\r\nContact: <sip:evil@127.0.0.9>", "\n", "\r", "\x00", "\x7f", "\xff"} {
			bad := good
			bad.Contact = "sip:bad@127.0.0.9"
			spoil(&bad, octets)
			if err := a.Apply(bounded(t), "x@example.net", []location.Binding{bad, good}); err == nil {
				t.Errorf("%s with %q was taken", name, octets)
			}
		}
	}
	got := mustLookup(t, a, "x@example.net")
	good.Socket = got[0].Socket
	sameBindings(t, got, []location.Binding{good})
	if err := a.Apply(bounded(t), "x@example.net\r\nX: y", []location.Binding{good}); err == nil {
		t.Error("an address with lines was taken")
	}
	gone := good
	gone.Expires = time.Since(server.began) + 900*time.Millisecond
	mustApply(t, a, "x@example.net", []location.Binding{gone})
	if got := mustLookup(t, a, "x@example.net"); len(got) != 0 {
		t.Errorf("got %+v for a binding that ends at once", got)
	}
}

// The headers of the replay have no effect at the listener of the phones.
func TestKamailio_stripped(t *testing.T) {
	server := startKamailio(t)
	a := server.adapter(t)
	server.dial(t, "udp").register("x@example.net", "c", 1, "Contact: <sip:x@127.0.0.9>;expires=600\r\nX-CS-Received: sip:127.0.0.66\r\nX-CS-BFlags: 64\r\n"+
		fmt.Sprintf("X-CS-Sock: udp:127.0.0.1:%d\r\nX-CS-Seen: 3 x\r\n", server.Replay))
	got := mustLookup(t, a, "x@example.net")
	if got[0].Received != "" || got[0].Branch != 0 || got[0].Socket != fmt.Sprintf("udp:127.0.0.1:%d", server.Port) {
		t.Errorf("got %+v", got)
	}
}

// A Contact may take another's place where no more are allowed.
func TestKamailio_ApplyMaxContacts(t *testing.T) {
	server := startKamailio(t, func(k *kamailioServer) { k.MaxContacts = 1 })
	a := server.adapter(t)
	one := location.Binding{Contact: "sip:1@127.0.0.9", Q: -1, CallID: "x", CSeq: 5, Methods: location.AllMethods, Expires: time.Since(server.began) + 600*time.Second}
	two := one
	two.Contact, two.CallID = "sip:2@127.0.0.9", "y"
	mustApply(t, a, "x@example.net", []location.Binding{one})
	mustApply(t, a, "x@example.net", []location.Binding{two})
	if err := a.Apply(bounded(t), "x@example.net", []location.Binding{one, two}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v", err)
	}
}

// Many addresses at a time: each is written, and found there.
func TestKamailio_ApplyMany(t *testing.T) {
	const many = 2000
	server := startKamailio(t)
	a := server.adapter(t)
	wanted := func(i int) (string, []location.Binding) {
		b := location.Binding{
			Contact: fmt.Sprintf("sip:%d@127.0.0.9", i), Q: -1, CallID: fmt.Sprint("c", i), CSeq: 1, Methods: location.AllMethods,
			Received: "sip:127.0.0.7:99", Branch: 64, UserAgent: "Phone", Expires: time.Since(server.began) + 600*time.Second,
			Socket: fmt.Sprintf("udp:127.0.0.1:%d", server.Port),
		}
		if i%2 == 0 {
			b.Instance, b.RegID = fmt.Sprintf("<urn:%d>", i), 1
		}
		return fmt.Sprintf("%d@example.net", i), []location.Binding{b}
	}
	each := func(what string, do func(i int) error) {
		began := time.Now()
		var wg sync.WaitGroup
		work := make(chan int)
		for range 64 {
			wg.Go(func() {
				for i := range work {
					if err := do(i); err != nil {
						t.Errorf("%s %d: %v", what, i, err)
					}
				}
			})
		}
		for i := range many {
			work <- i
		}
		close(work)
		wg.Wait()
		t.Logf("%s: %.0f/s", what, many/time.Since(began).Seconds())
	}
	ctx := bounded(t)
	each("apply", func(i int) error {
		aor, want := wanted(i)
		return a.Apply(ctx, aor, want)
	})
	each("apply again", func(i int) error {
		aor, want := wanted(i)
		return a.Apply(ctx, aor, want)
	})
	each("look up", func(i int) error {
		aor, want := wanted(i)
		got, err := a.Lookup(ctx, aor)
		if err == nil && (len(got) != 1 || got[0].Key() != want[0].Key()) {
			err = fmt.Errorf("got %+v", got)
		}
		return err
	})
	if n, err := a.Count(ctx); err != nil || n != many {
		t.Errorf("count: got %d, %v, want %d", n, err, many)
	}
	each("remove", func(i int) error {
		aor, _ := wanted(i)
		return a.Apply(ctx, aor, nil)
	})
	if n, err := a.Count(ctx); err != nil || n != 0 {
		t.Errorf("count: got %d, %v, want 0", n, err)
	}
	server.quiet(t)
}
