package sipserver

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// stubServing starts a stub under watch and waits until it serves.
func stubServing(t *testing.T, transport string, o Options) (*stubProcess, *prober, <-chan Status) {
	t.Helper()
	p := startStub(t, transport)
	p.do("open")
	o.Listen = []Socket{{transport, listenUDP[0].Addr}}
	s, reports := watching(t, o)
	probes := probingOver(t, s, transport)
	await(t, reports, "started", "", "200")
	for (<-reports).Processes != 1 {
	}
	flush(reports)
	return p, probes, reports
}

// A server that reads nothing for 800 ms, by a slow look-up or a blocked worker, does not hang.
func TestServer_stalled(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			p, probes, reports := stubServing(t, transport, Options{})
			for valid := false; !valid; {
				flush(reports)
				took, err := time.ParseDuration(p.do("stall 800ms"))
				if err != nil {
					t.Fatal(err)
				}
				back := time.Now()
				for probes.answer.Load() < back.UnixNano() {
					time.Sleep(ms)
				}
				valid = took+time.Since(back) < 1400*ms // a machine that made it longer proves nothing
				silent := false
				for !silent || len(reports) > 0 {
					s := <-reports
					silent = silent || s.View.Class == supervisor.ClassDead
					if valid && s.Reason != "" {
						t.Fatalf("got %q %q in a stall of %v", s.Reason, s.Text, took)
					}
				}
				t.Logf("stalled for %v", took)
			}
			await(t, reports, "goes on", "", "200")
		})
	}
}

// A server that never reads again hangs, after HangAfter and not before.
func TestServer_deadlocked(t *testing.T) {
	for transport, text := range map[string]string{"udp": "octets unread", "tcp": "what arrives is not read"} {
		t.Run(transport, func(t *testing.T) {
			const after = 700 * ms
			p, _, reports := stubServing(t, transport, Options{HangAfter: after})
			p.do("deaf")
			var silent time.Time
			for s := range reports {
				if silent.IsZero() && s.View.Class == supervisor.ClassDead {
					silent = time.Now()
				}
				if s.Reason == "" {
					continue
				}
				if took := time.Since(silent); s.Reason != supervisor.ReasonServerHung || !strings.Contains(s.Text, text) || took < after-relook {
					t.Fatalf("got %q %q after %v", s.Reason, s.Text, took)
				}
				t.Logf("%q %q, %+v", s.Reason, s.Text, s.Queue)
				break
			}
		})
	}
}

// A process that closes its socket and lives (S4-28) is told from a dead one, and so is one that is started anew and does not
// listen; each recovers without anybody's help (S4-36).
func TestServer_listenerLost(t *testing.T) {
	p, _, reports := stubServing(t, "udp", Options{})
	const missing = "nothing listens on udp " + serverAddr
	p.do("close")
	s := await(t, reports, "closed", supervisor.ReasonListener, missing+", but process "+strconv.Itoa(p.cmd.Process.Pid))
	if s.Outage.Cause != CauseBind || s.Outage.Missing != missing || time.Since(s.Outage.Since) > time.Minute {
		t.Errorf("got %+v", s.Outage)
	}
	p.do("open")
	if s := await(t, reports, "opened", "", "200"); s.Outage != (Outage{}) {
		t.Errorf("got %+v", s.Outage)
	}
	p.kill()
	if s := await(t, reports, "killed", supervisor.ReasonServerDead, "signal 9"); s.Outage.Cause != CauseUnauthorized {
		t.Errorf("got %+v", s.Outage)
	}
	next := startStub(t, "udp")
	if s := await(t, reports, "started anew", supervisor.ReasonListener, "but process "+strconv.Itoa(next.cmd.Process.Pid)); s.Outage.Cause != CauseBind {
		t.Errorf("got %+v", s.Outage)
	}
	next.do("open")
	await(t, reports, "listens", "", "200")
}

// A process that is killed is dead at once, although its socket goes first: it must not pass for one that merely lost its socket.
func TestServer_killedIsNoLostListener(t *testing.T) {
	for range 10 {
		p, _, reports := stubServing(t, "udp", Options{})
		p.kill()
		for s := range reports {
			if s.Reason == supervisor.ReasonListener {
				t.Fatalf("got %q", s.Text)
			}
			if s.Reason == supervisor.ReasonServerDead && strings.Contains(s.Text, "ended") {
				break
			}
		}
	}
}

// A frozen control group stops a server without a sign in the states of its processes.
func TestServer_frozen(t *testing.T) {
	group, freeze, thaw := makeGroup(t)
	p, _, reports := stubServing(t, "udp", Options{HangAfter: time.Hour})
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(group+"/cgroup.procs", strconv.Itoa(p.cmd.Process.Pid))
	write(freeze.file, freeze.text)
	await(t, reports, "frozen", supervisor.ReasonServerHung, "1 of 1 processes are stopped")
	write(thaw.file, thaw.text)
	await(t, reports, "thawed", "", "200")
}

type order struct{ file, text string }

// makeGroup makes a control group of whichever version the machine has.
func makeGroup(t *testing.T) (group string, freeze, thaw order) {
	t.Helper()
	for _, g := range []struct{ parent, file, freeze, thaw string }{
		{cgroupRoot, "cgroup.freeze", "1", "0"},
		{cgroupRoot + "/unified", "cgroup.freeze", "1", "0"},
		{cgroupRoot + "/freezer", "freezer.state", "FROZEN", "THAWED"},
	} {
		dir, err := os.MkdirTemp(g.parent, "sipserver-test-")
		if err != nil {
			continue
		}
		if _, err := os.Stat(dir + "/" + g.file); err != nil {
			os.Remove(dir)
			continue
		}
		t.Cleanup(func() {
			for os.Remove(dir) != nil { // until the kernel has forgotten the process in it
				time.Sleep(ms)
			}
		})
		file := dir + "/" + g.file
		t.Logf("control group %s", dir)
		return dir, order{file, g.freeze}, order{file, g.thaw}
	}
	t.Skip("no permission to make control groups")
	return "", order{}, order{}
}

// A server that gets ten times what it can do is overloaded and does not hang: it reads, and some answers come.
func TestServer_overloaded(t *testing.T) {
	p, _, reports := stubServing(t, "udp", Options{HangAfter: 700 * ms})
	p.do("slow 5ms")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	flood := request(t, "INVITE")
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = flood.Write([]byte("INVITE sip:a SIP/2.0\r\n\r\n"))
			time.Sleep(ms / 2)
		}
	})
	overloaded := false
	for began := time.Now(); !overloaded || time.Since(began) < 4*second; {
		s := <-reports
		if s.Reason != "" {
			t.Fatalf("got %q %q, %+v", s.Reason, s.Text, s.Queue)
		}
		if s.Overloaded && !overloaded {
			overloaded = true
			t.Logf("%q, %+v", s.Text, s.Queue)
		}
	}
}

// What others see answered speaks for a server whose sockets can't be seen; without that, silence has to do.
func TestServer_traffic(t *testing.T) {
	s, reports := watching(t, Options{HangAfter: second})
	s.Probed(supervisor.View{Class: supervisor.ClassServing, Text: "200"}, false)
	await(t, reports, "up", "", "200")
	s.Probed(supervisor.View{Class: supervisor.ClassDead, Text: "no answer"}, false)
	for got := (Status{}); !got.OptionsDead; {
		s.Traffic(TrafficFacts{Requests: 2, Answered: 1})
		select {
		case got = <-reports:
		case <-time.After(10 * ms):
		}
		if got.Reason != "" {
			t.Fatalf("got %q %q", got.Reason, got.Text)
		}
	}
	await(t, reports, "no more answers", supervisor.ReasonServerHung, "no answer; its sockets cannot be seen")
	s.Traffic(TrafficFacts{Requests: 1, Answered: 1, LastAnswer: time.Now()})
	await(t, reports, "an answer", "", "no answer, but other requests are answered")
	s.Traffic(TrafficFacts{Requests: 3})
	await(t, reports, "ignored", supervisor.ReasonServerHung, "no answer; 3 other requests got no answer")
}

// The kernel's figures for the server's sockets are passed on.
func TestServer_queue(t *testing.T) {
	c, err := net.ListenPacket("udp", serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.UDPConn).SetReadBuffer(2048); err != nil { // the kernel doubles it, and has a least size
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, reports := watching(t, Options{Listen: []Socket{listenUDP[0], {"tcp", listenUDP[0].Addr}}})
	s.Probed(supervisor.View{Class: supervisor.ClassServing, Text: "200"}, false)
	if got := await(t, reports, "up", "", "200"); got.Overloaded || got.Queue.Unread != 0 || got.Queue.Buffer == 0 {
		t.Errorf("got %+v", got)
	}
	for range 20 {
		if err := sendOnce(serverAddr); err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := net.Dial("tcp", serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	for got := range reports {
		if !got.Overloaded {
			continue
		}
		if q := got.Queue; q.Drops == 0 || q.Unread == 0 || q.Unread > 2*q.Buffer || q.Backlog != 1 || got.Reason != "" {
			t.Errorf("got %+v", got)
		}
		return
	}
}

func sendOnce(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(make([]byte, 1000))
	return err
}

// Both versions of control groups, and a group that is frozen further up, which the kernel shows in each below.
func TestFrozenIn(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"a/cgroup.events":         "populated 1\nfrozen 1\n",
		"b/cgroup.events":         "populated 1\nfrozen 0\n",
		"unified/c/cgroup.events": "populated 1\nfrozen 1\n",
		"freezer/d/freezer.state": "FROZEN\n",
		"freezer/e/freezer.state": "THAWED\n",
	} {
		name := root + "/" + file
		if err := os.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]bool{
		"0::/a\n":                               true,
		"0::/b\n":                               false,
		"0::/c\n":                               true,
		"0::/none\n":                            false,
		"9:name=systemd:/\n6:freezer:/d\n0::/b": true,
		"6:freezer:/e\n":                        false,
		"0::/../../a\n":                         true, // outside of our cgroup namespace: the best that can be had
		"nonsense":                              false,
		"":                                      false,
	} {
		if got := frozenIn(root, []byte(groups)); got != want {
			t.Errorf("%q: got %v", groups, got)
		}
	}
}
