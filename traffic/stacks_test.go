package traffic

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every message of differently built SIP stacks is counted exactly once, over UDP and TCP: against what the stacks themselves
// log (S4-16). What one says it has sent is what should have been seen.
func TestMonitor_stacks(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run("sipp to Kamailio "+transport, func(t *testing.T) {
			h := newFar(t)
			startKamailio(t)
			compare(t, h, func() (in, out uint64) { return sippCalls(t, h, transport, 100) })
		})
		t.Run("sipp to sipp "+transport, func(t *testing.T) {
			h := newFar(t)
			server := sippServer(t, transport)
			compare(t, h, func() (in, out uint64) {
				in, _ = sippCalls(t, h, transport, 100)
				return in, server()
			})
		})
		t.Run("sipgo to sipgo "+transport, func(t *testing.T) {
			h := newFar(t)
			server := spawn(t, nil, "sipgo-server", transport, here4+":5060")
			compare(t, h, func() (in, out uint64) {
				in = spawn(t, &h, "sipgo-client", transport, here4+":5060", there4, 150).wait().Sent
				return in, server.end().Sent
			})
		})
		t.Run("baresip to Kamailio "+transport, func(t *testing.T) {
			h := newFar(t)
			startKamailio(t)
			compare(t, h, func() (in, out uint64) {
				in = baresipRegisters(t, h, transport, 60)
				return in, in // each is answered
			})
		})
		t.Run("sipgo to Kamailio "+transport, func(t *testing.T) {
			h := newFar(t)
			startKamailio(t)
			compare(t, h, func() (in, out uint64) {
				got := spawn(t, &h, "sipgo-client", transport, here4+":5060", there4, 150).wait()
				return got.Sent, got.Received // one response at a time: each is read by itself
			})
		})
	}
	t.Run("sipgo to sipgo ws", func(t *testing.T) {
		h := newFar(t)
		server := spawn(t, nil, "sipgo-server", "ws", here4+":8080")
		compare(t, h, func() (in, out uint64) {
			in = spawn(t, &h, "sipgo-client", "ws", here4+":8080", there4, 150).wait().Sent
			return in, server.end().Sent
		})
	})
}

// compare lets stacks talk, and holds what they say against what was seen.
func compare(t *testing.T, h far, talk func() (in, out uint64)) {
	t.Helper()
	m := run(t, standard())
	in, out := talk()
	s := settled(t, m, h)
	last := s.In.Requests[len(Methods)-1] // those of settled itself
	s = await(t, m, "the answer to the last message", func(s Stats) bool { return s.Out.Total() >= out })
	if got := s.In.Total() - last; got != in || s.ParseErrors != 0 || s.Dropped != 0 || in < 100 {
		t.Errorf("got %d messages in, %d errors, %d dropped; %d were sent", got, s.ParseErrors, s.Dropped, in)
	}
	// The server may answer the last message, too, and may have tried again after the stacks ended.
	if got := s.Out.Total(); got < out || got > out+last || out < 100 {
		t.Errorf("got %d messages out, want %d", got, out)
	}
	if s.Local != 0 {
		t.Errorf("got %d local messages, want none", s.Local)
	}
}

const kamailioConfig = `
debug=0
log_stderror=yes
children=2
tcp_children=2
dns=no
rev_dns=no
listen=udp:10.77.0.1:5060
listen=tcp:10.77.0.1:5060
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "pv.so"
loadmodule "siputils.so"
request_route {
	if (is_method("ACK") || is_method("LAST")) { exit; }
	sl_send_reply("200", "OK");
}
`

func startKamailio(t *testing.T) {
	t.Helper()
	runKamailio(t, kamailioConfig)
}

// runKamailio starts it with that configuration, in which it listens for TCP.
func runKamailio(t *testing.T, text string) {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		t.Fatalf("these tests need the package kamailio: %v", err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(path, "-DD", "-E", "-f", config, "-Y", dir, "-m", "16", "-M", "4")
	cmd.Stderr = &log
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("kamailio says:\n%s", &log)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", here4+":5060") // over lo: local
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("kamailio does not listen: %v\n%s", err, &log)
		}
	}
}

// sipp runs the program and gives its log of messages when it has ended.
func sipp(t *testing.T, transport string, args ...string) (cmd *exec.Cmd, log func() string) {
	t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		t.Fatalf("these tests need the package sip-tester: %v", err)
	}
	dir := t.TempDir()
	mode := map[string]string{"udp": "u1", "tcp": "t1"}[transport]
	args = append([]string{"-t", mode, "-nostdin", "-trace_msg", "-message_file", filepath.Join(dir, "messages")}, args...)
	cmd = exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	return cmd, func() string {
		b, err := os.ReadFile(filepath.Join(dir, "messages"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// sippCalls makes calls from the far host, and gives how many messages sipp says that it has sent and received.
func sippCalls(t *testing.T, h far, transport string, number int) (sent, received uint64) {
	t.Helper()
	cmd, log := sipp(t, transport, here4+":5060", "-sn", "uac", "-i", there4, "-m", fmt.Sprint(number), "-r", "50", "-d", "20", "-timeout", "60s")
	launch(t, &h, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("sipp: %v", err)
	}
	return messagesIn(log())
}

// sippServer answers calls on this host. The function it gives ends it and tells how many messages it says that it has sent.
func sippServer(t *testing.T, transport string) func() uint64 {
	t.Helper()
	cmd, log := sipp(t, transport, "-sn", "uas", "-i", here4, "-p", "5060")
	launch(t, nil, cmd)
	awaitListener(t, transport, netip.MustParseAddrPort(here4+":5060"))
	return func() uint64 {
		time.Sleep(100 * time.Millisecond)
		_ = cmd.Process.Signal(unix.SIGUSR1) // it writes everything and ends
		_ = cmd.Wait()
		sent, _ := messagesIn(log())
		return sent
	}
}

// messagesIn counts what a log of sipp tells.
func messagesIn(log string) (sent, received uint64) {
	return uint64(strings.Count(log, " message sent ")), uint64(strings.Count(log, " message received "))
}

// awaitListener waits until somebody listens.
func awaitListener(t *testing.T, transport string, at netip.AddrPort) {
	t.Helper()
	a := at.Addr().As4()
	want := fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], at.Port())
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile("/proc/thread-self/net/" + transport)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), want) {
			return
		}
	}
	t.Fatalf("nobody listens at %v", at)
}
