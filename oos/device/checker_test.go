package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
)

// A device on UDP is in service, silent, back, refused, back again (S4-15).
func TestChecker_UDP(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			s := serve(t, listen, 200, nil)
			w := watch(t, nil, quick("gw", s.uri()))
			if v := w.await("gw", InService, "200 in ", OutOfService); !v.Confirmed || v.Code != 200 || v.RTT <= 0 || w.AllOut() {
				t.Errorf("got %+v", v)
			}
			s.code.Store(0)
			if v := w.await("gw", OutOfService, "no answer for "); v.Code != 0 || !w.AllOut() {
				t.Errorf("got %+v", v)
			}
			s.code.Store(486)
			w.await("gw", InService, "486 in ")
			s.code.Store(503)
			if v := w.await("gw", OutOfService, "503"); v.Code != 503 || !v.RetryUntil.IsZero() {
				t.Errorf("got %+v", v)
			}
			s.code.Store(200)
			w.await("gw", InService, "200 in ")
			addr := s.conn.LocalAddr().String()
			s.conn.Close()
			w.await("gw", OutOfService, "refused")
			serve(t, addr, 200, nil)
			w.await("gw", InService, "200 in ")
		})
	}
}

// Without fast-fail a refusal is no answer, and only oos-force tells.
func TestChecker_slowFail(t *testing.T) {
	s := serve(t, "127.0.0.1:0", 200, nil)
	s.conn.Close()
	began := time.Now()
	w := watch(t, func(o *Options) { o.FastFail = false }, quick("gw", s.uri()))
	w.await("gw", OutOfService, "refused")
	if took := time.Since(began); took < sec {
		t.Errorf("out of service after %v", took)
	}
}

// Every first datagram is lost: the second or third is answered within oos-force, so the device never goes out of service.
func TestChecker_loss(t *testing.T) {
	seen := map[string]int{}
	s := serve(t, "127.0.0.1:0", 200, func(request, answer []byte) []byte {
		branch, _, _ := bytes.Cut(request[bytes.Index(request, []byte(magic)):], []byte(";"))
		if seen[string(branch)]++; seen[string(branch)] < 2 {
			return nil
		}
		return answer
	})
	d := quick("gw", s.uri())
	d.Force = 20 * sec
	w := watch(t, nil, d)
	w.await("gw", InService, "200 in ", OutOfService)
	settle(t, "three probes", func() bool { return w.Stats().Answers >= 3 })
	if st := w.Stats(); st.Repeated < 3 || w.Verdicts()[0].State != InService {
		t.Errorf("got %+v, %+v", st, w.Verdicts())
	}
}

// A process that could not run does not blame the device: here it is held up in a report while a probe is under way.
func TestChecker_lateIsNoSilence(t *testing.T) {
	slow, other := serve(t, "127.0.0.1:0", 0, nil), serve(t, "127.0.0.1:0", 200, nil)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	reports := make(chan Verdict, 100000)
	watch(t, func(o *Options) {
		o.Report = func(v Verdict) {
			if v.Device == "other" {
				once.Do(func() {
					close(held)
					<-release
				})
			}
			reports <- v
		}
	}, quick("slow", slow.uri()), quick("other", other.uri()))
	<-held
	time.Sleep(3 * sec) // three times oos-force
	slow.code.Store(404)
	close(release)
	for v := range reports {
		if v.Device != "slow" {
			continue
		}
		if v.State != InService || v.Code != 404 {
			t.Errorf("got %+v", v)
		}
		return
	}
}

// Answers that are not to the newest request prove nothing, nor do those from elsewhere, garbage or a flood of it; and a real answer among them
// counts all the same.
func TestChecker_hostile(t *testing.T) {
	silent := func(spoil func(request, answer []byte) []byte) *server { return serve(t, "127.0.0.1:0", 200, spoil) }
	replace := func(old, with string) *server {
		return silent(func(_, answer []byte) []byte { return []byte(strings.Replace(string(answer), old, with, 1)) })
	}
	elsewhere, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	devices := []Device{
		quick("branch", replace(magic, magic+"f").uri()),
		quick("call", replace("Call-ID: ", "Call-ID: 0").uri()),
		quick("method", replace(" OPTIONS", " INVITE").uri()),
		quick("garbage", silent(func(_, _ []byte) []byte { return bytes.Repeat([]byte("\xff\x00SIP/2.0 200"), 100) }).uri()),
		quick("echo", silent(func(request, _ []byte) []byte { return request }).uri()),
	}
	var port atomic.Int32 // of the checker
	var once sync.Once
	flooding := make(chan struct{})
	alive := silent(func(request, answer []byte) []byte {
		once.Do(func() { close(flooding) })
		return answer
	})
	devices = append(devices, quick("alive", alive.uri()))
	moved := silent(func(request, answer []byte) []byte { // answers, but from another address
		_, via, _ := bytes.Cut(request, []byte("SIP/2.0/UDP "))
		local, _, _ := bytes.Cut(via, []byte(";"))
		to := netip.MustParseAddrPort(string(local))
		port.Store(int32(to.Port()))
		_, _ = elsewhere.WriteToUDPAddrPort(answer, to)
		return nil
	})
	devices = append(devices, quick("moved", moved.uri()))
	w := watch(t, nil, devices...)
	w.await("alive", InService, "200 in ", OutOfService)
	<-flooding
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() { // 10,000 datagrams a second
		b := replyTo(nil, []byte("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch="+magic+"0123456789abcdef0000000500000001\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"), 200, "")
		for {
			select {
			case <-done:
				return
			case <-time.After(ms):
			}
			for range 10 {
				_, _ = elsewhere.WriteToUDPAddrPort(b, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port.Load())))
			}
		}
	})
	out := map[string]bool{}
	for len(out) < len(devices)-1 {
		v := <-w.reports
		if v.Device == "alive" && v.State != InService || v.Device != "alive" && v.State == InService && v.Confirmed {
			t.Fatalf("got %+v", v)
		}
		if v.State == OutOfService {
			out[v.Device] = true
		}
	}
	if w.AllOut() || w.Stats().Ignored == 0 {
		t.Errorf("all out %v, %+v", w.AllOut(), w.Stats())
	}
}

// Only the primary asks; whoever becomes it starts all over, in service and unconfirmed (S4-15).
func TestChecker_SetActive(t *testing.T) {
	s := serve(t, "127.0.0.1:0", 0, nil)
	w := watch(t, nil, quick("gw", s.uri()))
	w.await("gw", OutOfService, "no answer")
	w.SetActive(false)
	if v := w.await("gw", InService, ""); v.Confirmed {
		t.Errorf("got %+v", v)
	}
	if w.AllOut() {
		t.Error("all are out of service although nobody asks")
	}
	w.Heard(Hint{Device: "gw", Kind: Timeout})
	before := w.Stats()
	time.Sleep(500 * ms)
	if after := w.Stats(); after != before {
		t.Errorf("asks without being active: %+v, %+v", before, after)
	}
	s.code.Store(200)
	w.SetActive(true)
	if v := w.await("gw", InService, "200 in ", OutOfService); !v.Confirmed {
		t.Errorf("got %+v", v)
	}
}

// What others saw of a device: recovery-timeout, and REGISTER (S4-15).
func TestChecker_Heard(t *testing.T) {
	s := serve(t, "127.0.0.1:0", 0, nil)
	passive := Device{Name: "phone", URI: "sip:127.0.0.7:5060", Recovery: 3600 * sec}
	twin := Device{Name: "twin", URI: "sip:127.0.0.7:5062", Recovery: 300 * ms}
	w := watch(t, nil, quick("gw", s.uri()), passive, twin)
	w.await("gw", OutOfService, "no answer")
	w.Heard(Hint{From: netip.MustParseAddrPort("127.0.0.1:4711"), Kind: Message}) // not enough
	w.Heard(Hint{From: netip.MustParseAddrPort("[::ffff:127.0.0.1]:4711"), Kind: Register})
	w.await("gw", InService, "registered")
	w.Heard(Hint{From: netip.MustParseAddrPort("127.0.0.7:5062"), Kind: Timeout})
	w.await("twin", Failed, "INVITE timed out")
	w.await("twin", InService, "recovery-timeout is over")
	w.Heard(Hint{Device: "phone", Kind: Unavailable, RetryAfter: 30 * sec})
	if v := w.await("phone", Failed, "503 to a request, retry after 30s"); v.RetryUntil.IsZero() || v.Code != 503 {
		t.Errorf("got %+v", v)
	}
	w.Heard(Hint{From: netip.MustParseAddrPort("127.0.0.7:9"), Kind: Message})    // which of the two?
	w.Heard(Hint{From: netip.MustParseAddrPort("127.0.0.9:5060"), Kind: Message}) // who?
	w.Heard(Hint{Device: "nobody", Kind: Message})
	w.Heard(Hint{From: netip.MustParseAddrPort("127.0.0.7:5060"), Kind: Message})
	w.await("phone", InService, "heard of")
}

// The source is what Source says, also when that changes, and trouble with it is named.
func TestChecker_Source(t *testing.T) {
	var source atomic.Value
	source.Store(netip.MustParseAddr("127.0.0.9"))
	from := make(chan string, 100000)
	s := serve(t, "127.0.0.1:0", 200, func(request, answer []byte) []byte {
		_, via, _ := bytes.Cut(request, []byte("SIP/2.0/UDP "))
		host, _, _ := bytes.Cut(via, []byte(":"))
		from <- string(host)
		return answer
	})
	w := watch(t, func(o *Options) { o.Source = func() netip.Addr { return source.Load().(netip.Addr) } }, quick("gw", s.uri()))
	for _, addr := range []string{"127.0.0.9", "127.0.0.10"} {
		source.Store(netip.MustParseAddr(addr))
		for got := ""; got != addr; got = <-from {
		}
	}
	source.Store(netip.MustParseAddr("203.0.113.77"))
	w.await("gw", OutOfService, "cannot ask: cannot assign requested address")
	source.Store(netip.Addr{})
	w.await("gw", InService, "200 in ")
	for got := ""; got != "127.0.0.1"; got = <-from {
	}
}

// A device with a name is asked at the name's address, stays there while that answers, and is found again when it moved.
func TestChecker_name(t *testing.T) {
	a := serve(t, "127.0.0.21:0", 200, nil)
	port := a.conn.LocalAddr().(*net.UDPAddr).Port
	b := serve(t, fmt.Sprintf("127.0.0.22:%d", port), 200, nil)
	var mu sync.Mutex
	var addrs []netip.Addr
	lookUp := func(_ context.Context, host string) ([]netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		if host != "gw.example" {
			return nil, fmt.Errorf("asked for %s", host)
		}
		if addrs == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host}
		}
		return append([]netip.Addr(nil), addrs...), nil
	}
	set := func(list ...string) {
		mu.Lock()
		defer mu.Unlock()
		addrs = nil
		for _, s := range list {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
	}
	w := watch(t, func(o *Options) { o.LookUp = lookUp }, quick("gw", fmt.Sprintf("sip:gw.example:%d", port)))
	w.await("gw", OutOfService, "cannot ask: cannot look up gw.example: no such host")
	set("127.0.0.21")
	w.await("gw", InService, "200 in ")
	set("127.0.0.22", "127.0.0.21")
	a.code.Store(0)
	w.await("gw", OutOfService, "no answer")
	w.await("gw", InService, "200 in ")
	if b.asked.Load() == 0 {
		t.Error("the other address was not asked")
	}
}

// A name has addresses of both families, each asked over its own socket.
func TestChecker_mixed(t *testing.T) {
	v4, v6 := serve(t, "127.0.0.1:0", 200, nil), serve(t, "[::1]:0", 404, nil)
	w := watch(t, nil, quick("v4", v4.uri()), quick("v6", v6.uri()))
	seen := map[string]int{}
	for len(seen) < 2 {
		if v := <-w.reports; v.Confirmed {
			seen[v.Device] = v.Code
		}
	}
	if seen["v4"] != 200 || seen["v6"] != 404 {
		t.Errorf("got %v", seen)
	}
}

// Thousands of refused devices among living ones: each verdict is about the right one.
func TestChecker_manyRefused(t *testing.T) {
	s := serve(t, "127.0.0.1:0", 200, nil)
	dead := serve(t, "127.0.0.1:0", 0, nil)
	dead.conn.Close()
	_, deadPort, _ := net.SplitHostPort(dead.conn.LocalAddr().String())
	var devices []Device
	for i := range 2000 {
		d := quick(fmt.Sprint("dead", i), fmt.Sprintf("sip:127.1.%d.%d:%s", i/250, i%250+1, deadPort))
		if i%10 == 0 {
			d = quick(fmt.Sprint("alive", i), s.uri())
		}
		d.Check, d.Force = 2*sec, 20*sec
		devices = append(devices, d)
	}
	w := watch(t, nil, devices...)
	settle(t, "a verdict on each", func() bool {
		for _, v := range w.Verdicts() {
			if !v.Confirmed {
				return false
			}
		}
		return true
	})
	for _, v := range w.Verdicts() {
		if alive := strings.HasPrefix(v.Device, "alive"); alive != (v.State == InService) {
			t.Fatalf("got %+v", v)
		}
	}
}

// Report may call back, and Run leaves nothing behind.
func TestChecker_end(t *testing.T) {
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before, running := files(), runtime.NumGoroutine()
	l := listenTCP(t, "127.0.0.1:0", answeringTCP(1<<30, 200))
	s := serve(t, "127.0.0.1:0", 200, nil)
	var c *Checker
	ctx, cancel := context.WithCancel(t.Context())
	o := DefaultOptions()
	o.Devices = []Device{quick("gw", s.uri()), quick("tcp", "sip:"+l.Addr().String()+";transport=tcp"), quick("name", "sip:gw.example")}
	o.LookUp = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	confirmed := 0
	o.Report = func(v Verdict) {
		if len(c.Verdicts()) != 3 || c.AllOut() {
			t.Error("calling back went wrong")
		}
		if v.Confirmed {
			if confirmed++; confirmed == 2 {
				cancel()
			}
		}
	}
	o.Logger = zap.NewNop()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetActive(true)
	if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: got %v", err)
	}
	c.SetActive(true)
	c.Heard(Hint{Device: "gw", Kind: Register})
	l.Close()
	s.conn.Close()
	settle(t, "no files and goroutines left", func() bool { return files() <= before && runtime.NumGoroutine() <= running+1 })
}

func TestNew_namesProblems(t *testing.T) {
	if _, err := New(Options{Report: func(Verdict) {}}); err == nil {
		t.Error("no logger: got no error")
	}
	_, err := New(Options{Logger: zap.NewNop(), Report: func(Verdict) {}, Devices: []Device{quick("a", "sip:h"), quick("a", "h")}})
	for _, want := range []string{`two devices are named "a"`, `device "a": URI "h"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
