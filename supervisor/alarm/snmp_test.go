package alarm

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// tool finds a program of net-snmp or libsmi.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run contrib/lab/setup.sh", name)
	return ""
}

// mibs is the environment in which net-snmp's programs know our MIB and nothing of the host's.
func mibs(t *testing.T) []string {
	t.Helper()
	ours, err := filepath.Abs("../../contrib/snmp")
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Abs("testdata/mibs")
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "MIBDIRS="+base+":"+ours, "MIBS=UNDERSTUDY-MIB", "SNMP_PERSISTENT_DIR="+t.TempDir(), "SNMPCONFPATH="+t.TempDir(), "TZ=UTC")
}

// The MIB file is sound by the strictest reading of smilint, and snmptranslate knows its names.
func TestMIB(t *testing.T) {
	base, err := filepath.Abs("testdata/mibs")
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(tool(t, "smilint"), "-l", "6", "-s", "../../contrib/snmp/UNDERSTUDY-MIB.txt")
	lint.Env = append(os.Environ(), "SMIPATH="+base)
	if out, err := lint.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"understudyAlarmRaised": "." + DefaultBase + ".0.1", "understudyAlarmCleared": "." + DefaultBase + ".0.2",
		"understudyAlarmNumber": "." + DefaultBase + ".1.1", "understudyAlarmPending": "." + DefaultBase + ".1.14",
	} {
		translate := exec.Command(tool(t, "snmptranslate"), "-On", "UNDERSTUDY-MIB::"+name)
		translate.Env = mibs(t)
		if out, err := translate.Output(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// receiver is a real snmptrapd on loopback.
type receiver struct {
	address string
	lines   chan string
}

func newReceiver(t *testing.T, config string) *receiver {
	t.Helper()
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.LocalAddr().String()
	free.Close()
	file := private(t, config)
	cmd := exec.Command(tool(t, "snmptrapd"), "-f", "-Lo", "-n", "-C", "-c", file, "-F", "%v\\n", "udp:"+address)
	cmd.Env = mibs(t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: address, lines: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			r.lines <- scanner.Text()
		}
		close(r.lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	for line := range r.lines { // it says its version when it has its socket
		if strings.Contains(line, "NET-SNMP version") {
			return r
		}
		t.Log(line)
	}
	t.Fatal("snmptrapd did not come up")
	return nil
}

func (r *receiver) next(t *testing.T) string {
	t.Helper()
	for {
		select {
		case line, ok := <-r.lines:
			if !ok {
				t.Fatal("snmptrapd ended")
			}
			if strings.Contains(line, "snmpTrapOID") || strings.Contains(line, ".1.3.6.1.6.3.1.1.4.1.0") || strings.Contains(line, "understudy") {
				return line
			}
			t.Log(line)
		case <-time.After(time.Minute):
			t.Fatal("nothing arrived")
		}
	}
}

// wantTrap checks what snmptrapd made of a notice, by the names of our MIB.
func wantTrap(t *testing.T, line string, n Notice) {
	t.Helper()
	kind, severity := "understudyAlarmRaised", "major(4)"
	if n.Event == Cleared {
		kind, severity = "understudyAlarmCleared", "cleared(1)"
	}
	for _, want := range []string{
		"UNDERSTUDY-MIB::" + kind, "understudyAlarmNumber.0 = Gauge32: 7", "understudyAlarmCondition.0 = STRING: nic-down",
		"understudyAlarmObject.0 = STRING: edge-a", "understudyAlarmSeverity.0 = INTEGER: " + severity, "understudyAlarmEventId.0 = STRING: 00-52027",
		`understudyAlarmText.0 = STRING: the "interface" [eth1] failed`, "understudyAlarmEvidence.0 = STRING: no carrier",
		"understudyAlarmFirst.0 = STRING: 2026-11-20,12:0:0.2,+0:0", "understudyAlarmCount.0 = Gauge32: 3", "understudyAlarmCluster.0 = STRING: sip-edge",
		"understudyAlarmNode.0 = STRING: edge-a", "understudyAlarmReporter.0 = STRING: edge-b", "understudyAlarmPending.0 = INTEGER: false(2)",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
}

// S4-34: a real snmptrapd takes our v2c traps and finds all in them that the MIB promises.
func TestSNMP_v2c(t *testing.T) {
	r := newReceiver(t, "authCommunity log pair-community\n")
	s := SNMP{Target: r.address, Version: "v2c", Community: "pair-community"}
	if err := s.validate(nil); err != nil {
		t.Fatal(err)
	}
	sender := newTrapSender(s, *testOptions())
	for _, n := range []Notice{raised(), ended()} {
		if err := sender.send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		wantTrap(t, r.next(t), n)
	}
}

// v3 with authentication and privacy: the engine id stays from run to run, a later run is believed, a wrong passphrase is not, and
// nothing can be read on the way.
func TestSNMP_v3(t *testing.T) {
	auth, priv, wrong := private(t, "auth-passphrase\n"), private(t, "priv-passphrase\n"), private(t, "not-passphrase\n")
	engine := hex.EncodeToString(EngineID("sip-edge", "edge-b"))
	for _, c := range []struct{ auth, priv, authName, privName string }{{"", "", "SHA-256", "AES"}, {"SHA-512", "AES-256", "SHA-512", "AES-256"}, {"SHA", "AES", "SHA", "AES"}} {
		t.Run(c.authName+" "+c.privName, func(t *testing.T) {
			r := newReceiver(t, fmt.Sprintf("createUser -e 0x%s pair %s auth-passphrase %s priv-passphrase\nauthUser log pair priv\n", engine, c.authName, c.privName))
			s := SNMP{Target: r.address, Version: "v3", User: "pair", Auth: c.auth, AuthFile: auth, Priv: c.priv, PrivFile: priv}
			if err := s.validate(nil); err != nil {
				t.Fatal(err)
			}
			first := newTrapSender(s, *testOptions())
			for _, n := range []Notice{raised(), ended()} {
				if err := first.send(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				wantTrap(t, r.next(t), n)
			}
			later := newTrapSender(s, *testOptions())
			later.boots = first.boots + 60
			s.AuthFile = wrong
			stranger := newTrapSender(s, *testOptions())
			stranger.boots = later.boots
			lost := notice(testOptions(), begins, supervisor.Alarm{Condition: "forged", First: noon, Last: noon}, false)
			if err := stranger.send(t.Context(), lost); err != nil {
				t.Fatal(err)
			}
			if err := first.send(t.Context(), raised()); err != nil { // still believed
				t.Fatal(err)
			}
			wantTrap(t, r.next(t), raised())
			if err := later.send(t.Context(), raised()); err != nil {
				t.Fatal(err)
			}
			wantTrap(t, r.next(t), raised())
		})
	}
}

// What goes over the wire in v3 shows no text, and a trap with the longest texts fits into one packet.
func TestSNMP_wire(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pass := private(t, "long-enough")
	long := raised()
	long.Alarm.Text, long.Alarm.Evidence = strings.Repeat("ü", 250), strings.Repeat("x", 500)
	long.Alarm.Condition, long.Alarm.Object = strings.Repeat("c", supervisor.AlarmNameLimit), strings.Repeat("o", supervisor.AlarmWhoLimit)
	for _, s := range []SNMP{
		{Target: conn.LocalAddr().String(), Version: "v2c", Community: "c"},
		{Target: conn.LocalAddr().String(), Version: "v3", User: "pair", AuthFile: pass, PrivFile: pass},
	} {
		if err := newTrapSender(s, *testOptions()).send(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		got := datagram(t, conn)
		if len(got) > 1400 {
			t.Errorf("%s: %d octets", s.Version, len(got))
		}
		if strings.Contains(got, "xxxx") != (s.Version == "v2c") {
			t.Errorf("%s: text in the clear: %v", s.Version, s.Version == "v3")
		}
	}
}

// Engine ids differ between nodes and pairs, and keep to RFC 3411: 5 to 32 octets, the first bit set.
func TestEngineID(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range [][]byte{EngineID("a", "b"), EngineID("a", "c"), EngineID("ab", ""), EngineID("b", "b")} {
		if len(id) != 17 || id[0]&0x80 == 0 || id[4] != 5 || seen[string(id)] {
			t.Errorf("%x", id)
		}
		seen[string(id)] = true
	}
	if got := hex.EncodeToString(EngineID("sip-edge", "edge-b")); got != hex.EncodeToString(EngineID("sip-edge", "edge-b")) || !strings.HasPrefix(got, "80007ed905") {
		t.Errorf("%s", got)
	}
}
