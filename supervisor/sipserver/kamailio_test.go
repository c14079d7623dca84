package sipserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
request_route { sl_send_reply("200", "OK"); }
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
func serving(t *testing.T) (*kamailio, *prober, <-chan Status) {
	t.Helper()
	k := startKamailio(t)
	s, reports := watching(t, Options{Listen: []Socket{listenUDP[0], {"tcp", listenUDP[0].Addr}}, Process: "kamailio"})
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

// FACTS of Kamailio: its workers outlive a killed main process, keep the socket and answer on.
func TestKamailio_mainKilled(t *testing.T) {
	k, p, reports := serving(t)
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
	k, _, reports := serving(t)
	workers := k.processes()
	if err := unix.Kill(workers[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, reports, "worker killed", supervisor.ReasonServerDead, "(kamailio) ended, signal 9 (killed)")
	await(t, reports, "Kamailio came down", supervisor.ReasonServerDead, "nothing listens")
	startKamailio(t)
	await(t, reports, "restarted", "", "200")
}

func TestKamailio_stopped(t *testing.T) {
	k, _, reports := serving(t)
	k.signal(unix.SIGSTOP)
	await(t, reports, "SIGSTOP", supervisor.ReasonServerHung, "processes are stopped")
	k.signal(unix.SIGCONT)
	await(t, reports, "SIGCONT", "", "200")
}

// An orderly stop and start: nothing hangs on the processes of before.
func TestKamailio_restarted(t *testing.T) {
	k, _, reports := serving(t)
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
