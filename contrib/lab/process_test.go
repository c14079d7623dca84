package lab

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A process may call itself anything, parentheses and spaces included (proc(5)).
func TestParseStat(t *testing.T) {
	line := "77 (x) S (y) R 5 6 70 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 0"
	if got, want := parseStat(line), (procStat{state: "R", parent: 5, session: 70, threads: 1, ticks: 50}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, broken := range []string{"", "77 (x)", "77 (x) S 1"} {
		parseStat(broken) // a process that ends while it is read: no panic
	}
}

// Kamailio's workers live on when its main process is killed (they keep the socket): the lab still knows them, and Kill ends them.
func TestProcess_findsOrphans(t *testing.T) {
	l := newLab(t, Kamailio)
	p := l.servers[MemberA].(*server).process
	all := p.PIDs()
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.done
	rest := slices.DeleteFunc(slices.Clone(all), func(pid int) bool { return pid == p.cmd.Process.Pid })
	if got := p.PIDs(); !slices.Equal(got, rest) {
		t.Errorf("after the main process died, the lab knows %v, want %v", got, rest)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := p.PIDs(); len(got) > 0 {
		t.Errorf("still there after Kill: %v", got)
	}
}

// A host's processes live in its namespace and see its addresses.
func TestLab_runsAtHosts(t *testing.T) {
	l := newLab(t, Embedded)
	for _, host := range []string{MemberA, MemberB, Witness, client} {
		out, err := l.Run(host, "ip", "-4", "-o", "addr", "show", "dev", "sip0")
		if err != nil {
			t.Fatal(err)
		}
		if want := Addr(host, SIP).String() + "/24"; !strings.Contains(string(out), want) {
			t.Errorf("host %s: no %s in %s", host, want, out)
		}
	}
	if _, err := l.Run(MemberA, "false"); err == nil {
		t.Error("a command that fails is no error")
	}
	if _, err := l.Run(MemberA, "no-such-program"); err == nil {
		t.Error("a command that doesn't exist is no error")
	}
}
