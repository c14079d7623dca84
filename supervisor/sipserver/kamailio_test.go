package sipserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

const kamailioConfig = `
debug=0
log_stderror=yes
children=2
listen=udp:127.0.0.1:5060
listen=tcp:127.0.0.1:5060
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "cfgutils.so"
loadmodule "htable.so"
modparam("htable", "htable", "a=>size=2")
request_route {
	if (method == "NOTIFY") { usleep("800000"); exit; }
	if (method == "INFO") { $sht(a=>mute) = 1; }
	if (method == "OPTIONS" && $sht(a=>mute) == 1) { exit; }
	sl_send_reply("200", "OK");
}
`

// kamailio is a running server. Its processes are found by their group.
type kamailio struct {
	cmd  *exec.Cmd
	wait func()
}

func startKamailio(t *testing.T) *kamailio {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		t.Fatalf("these tests need the package kamailio: %v", err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, []byte(kamailioConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-DD", "-E", "-f", config, "-Y", dir, "-m", "16", "-M", "4")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &kamailio{cmd: cmd, wait: sync.OnceFunc(func() { _ = cmd.Wait() })}
	go k.wait() // reaps the main process at once, as an init system does
	t.Cleanup(k.stop)
	return k
}

// stop ends everything that is left of it.
func (k *kamailio) stop() {
	k.signal(unix.SIGKILL)
	k.wait()
	for len(k.processes()) > 0 { // orphans, which somebody else reaps
		time.Sleep(ms)
	}
}

func (k *kamailio) signal(s unix.Signal) { _ = unix.Kill(-k.cmd.Process.Pid, s) }

// processes gives the living members of the group besides the main one.
func (k *kamailio) processes() []int {
	all, _, err := findHolders(socketsOf(serverAddr))
	if err != nil {
		panic(err)
	}
	var pids []int
	for _, h := range all {
		if group, err := unix.Getpgid(h.pid); err == nil && group == k.cmd.Process.Pid && h.pid != group {
			pids = append(pids, h.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func socketsOf(addr string) map[uint64]bool {
	d, err := openDiag()
	if err != nil {
		panic(err)
	}
	defer d.close()
	sockets, err := d.listeners(true, true, 5060, 5060)
	if err != nil {
		panic(err)
	}
	inodes := map[uint64]bool{}
	for _, s := range sockets {
		if s.addr.String() == addr {
			inodes[s.inode] = true
		}
	}
	return inodes
}

// serving starts Kamailio under watch and waits until it serves.
func serving(t *testing.T, hangAfter time.Duration) (*kamailio, *prober, <-chan Status) {
	t.Helper()
	k := startKamailio(t)
	s, reports := watching(t, Options{
		Listen: []Socket{listenUDP[0], {"tcp", listenUDP[0].Addr}}, Process: "kamailio", HangAfter: hangAfter,
	})
	p := probing(t, s)
	await(t, reports, "started", "", "200")
	for status := range reports {
		if status.Processes == len(k.processes())+1 {
			break
		}
	}
	time.Sleep(youth + pollEvery/10) // until workers count as such
	flush(reports)
	return k, p, reports
}

// Kamailio: its workers outlive a killed main process, keep the socket and answer on.
func TestKamailio_mainKilled(t *testing.T) {
	k, p, reports := serving(t, 0)
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now().UnixNano()
	await(t, reports, "main killed", supervisor.ReasonServerDead, "(kamailio) ended, signal 9 (killed)")
	for p.answer.Load() < killed+int64(settle+recent) { // the orphans answer, and that is not enough
		time.Sleep(10 * ms)
	}
	for len(reports) > 0 {
		if s := <-reports; s.Reason != supervisor.ReasonServerDead {
			t.Fatalf("got %+v while only orphans answer", s)
		}
	}
	k.stop()
	await(t, reports, "orphans killed", supervisor.ReasonServerDead, "nothing listens on udp 127.0.0.1:5060, tcp 127.0.0.1:5060")
	startKamailio(t)
	await(t, reports, "restarted", "", "200")
}

// A killed worker means that Kamailio comes down, but only 1.8 s later.
func TestKamailio_workerKilled(t *testing.T) {
	k, _, reports := serving(t, 0)
	workers := k.processes()
	if err := unix.Kill(workers[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, reports, "worker killed", supervisor.ReasonServerDead, "(kamailio) ended, signal 9 (killed)")
	await(t, reports, "Kamailio came down", supervisor.ReasonServerDead, "nothing listens")
	startKamailio(t)
	await(t, reports, "restarted", "", "200")
}

// With all processes stopped nothing has to last, however long a hang has to last otherwise.
func TestKamailio_stopped(t *testing.T) {
	k, _, reports := serving(t, time.Hour)
	k.signal(unix.SIGSTOP)
	await(t, reports, "SIGSTOP", supervisor.ReasonServerHung, "9 of 9 processes are stopped")
	k.signal(unix.SIGCONT)
	await(t, reports, "SIGCONT", "", "200")
}

// An orderly stop and start: nothing hangs on the processes of before.
func TestKamailio_restarted(t *testing.T) {
	k, _, reports := serving(t, 0)
	if err := k.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, reports, "SIGTERM", supervisor.ReasonServerDead, "")
	k.wait()
	startKamailio(t)
	await(t, reports, "restarted", "", "200")
}

// A name that nobody has is a configuration mistake that the text makes plain.
func TestKamailio_otherName(t *testing.T) {
	startKamailio(t)
	_, reports := watching(t, Options{Listen: listenUDP, Process: "asterisk"})
	await(t, reports, "wrong name", supervisor.ReasonServerDead, "no process named asterisk listens, but ")
}

// udpWorkers gives the two processes that read the UDP socket: the first that Kamailio forks.
func (k *kamailio) udpWorkers() []int { return k.processes()[:2] }

// One worker that is stopped leaves the others to work; with all of those that read the socket, it hangs, although other processes run.
func TestKamailio_workersStopped(t *testing.T) {
	k, p, reports := serving(t, 300*ms)
	workers := k.udpWorkers()
	if err := unix.Kill(workers[0], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for stopped := time.Now(); p.answer.Load() < stopped.Add(second).UnixNano(); {
		if s := <-reports; s.Reason != "" {
			t.Fatalf("got %q %q", s.Reason, s.Text)
		}
	}
	if err := unix.Kill(workers[1], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, reports, "both stopped", supervisor.ReasonServerHung, "octets unread")
	k.signal(unix.SIGCONT)
	await(t, reports, "SIGCONT", "", "200")
}

// request sends a request that is no OPTIONS and gives the socket.
func request(t *testing.T, method string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "%[1]s sip:%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK%[4]d\r\nMax-Forwards: 70\r\nFrom: <sip:test@%[3]s>;tag=1\r\n"+
		"To: <sip:%[2]s>\r\nCall-ID: %[4]d\r\nCSeq: 1 %[1]s\r\nContent-Length: 0\r\n\r\n", method, serverAddr, c.LocalAddr(), time.Now().UnixNano())
	return c
}

// Workers that are all blocked for 800 ms, as by a slow look-up, are no hang.
func TestKamailio_blocked(t *testing.T) {
	_, p, reports := serving(t, 0)
	for valid := false; !valid; {
		flush(reports)
		began := time.Now()
		for range 2 { // one for each worker
			request(t, "NOTIFY")
		}
		for s := range reports {
			if s.View.Class == supervisor.ClassDead {
				break
			}
		}
		silent := time.Now()
		for p.answer.Load() < silent.UnixNano() {
			time.Sleep(ms)
		}
		took := time.Since(began)
		valid = took < 1400*ms // a machine that made it longer proves nothing
		for len(reports) > 0 {
			if s := <-reports; valid && s.Reason != "" {
				t.Fatalf("got %q %q in %v of silence", s.Reason, s.Text, took)
			}
		}
		t.Logf("silent for %v", took)
	}
	await(t, reports, "goes on", "", "200")
}

// A script that drops OPTIONS and answers calls: an alarm, no hang.
func TestKamailio_optionsIgnored(t *testing.T) {
	k, _, reports := serving(t, 300*ms)
	request(t, "INFO")
	answered := 0
	for s := range reports {
		if s.Reason != "" {
			t.Fatalf("got %q %q", s.Reason, s.Text)
		}
		c := request(t, "INVITE")
		_ = c.SetReadDeadline(time.Now().Add(10 * second))
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if !s.OptionsDead {
			continue
		}
		if !strings.Contains(s.Text, "but what arrives at its sockets is read") {
			t.Errorf("got %q", s.Text)
		}
		if answered++; answered > 5 {
			t.Logf("%q", s.Text)
			break
		}
	}
	k.signal(unix.SIGSTOP) // it is watched all the same
	await(t, reports, "SIGSTOP", supervisor.ReasonServerHung, "9 of 9")
}
