package registrar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// kamailioConfig is a registrar and proxy that includes the very file that operators include.
var kamailioConfig = template.Must(template.New("kamailio.cfg").Parse(`#!KAMAILIO
debug=0
log_stderror=yes
children=2
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
listen=udp:127.0.0.1:{{.Port}}
listen=tcp:127.0.0.1:{{.Port}}
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
loadmodule "jsonrpcs.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "use_domain", {{.Domain}})
modparam("usrloc", "nat_bflag", 6)
modparam("usrloc", "handle_lost_tcp", 0)
modparam("registrar", "use_path", 1)
modparam("registrar", "max_contacts", {{.MaxContacts}})
modparam("nathelper", "received_avp", "$avp(rcv)")
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "{{.RPC}}")
modparam("jsonrpcs", "pretty_format", 0)
#!define UNDERSTUDY_REPLAY_LISTEN udp:127.0.0.1:{{.Replay}}
#!define UNDERSTUDY_PUSH_TO 127.0.0.1:{{.Push}}
include_file "{{.Include}}"
request_route {
	route(UNDERSTUDY_REPLAY);
	if (is_method("REGISTER")) {
		if (is_present_hf("X-NAT")) {
			fix_nated_register();
			setbflag(6);
		}
		if (!save("location")) {
			sl_reply_error();
			exit;
		}
		route(UNDERSTUDY_PUSH);
		exit;
	}
	if (is_method("ACK")) {
		exit;
	}
	if (!lookup("location")) {
		sl_send_reply("404", "Not Found");
		exit;
	}
	t_relay();
}
`))

// kamailioServer is a running Kamailio.
type kamailioServer struct {
	Port, Replay, Push  int
	Domain, MaxContacts int
	RPC, Include        string

	dir     string
	began   time.Time
	process *kamailioProcess
}

type kamailioProcess struct {
	cmd  *exec.Cmd
	wait func()
}

// freePorts gives UDP ports that nobody has, also not for TCP.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for len(ports) < n {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		port := c.LocalAddr().(*net.UDPAddr).Port
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	return ports
}

func startKamailio(t *testing.T, options ...func(*kamailioServer)) *kamailioServer {
	t.Helper()
	ports := freePorts(t, 3)
	include, err := filepath.Abs("../../contrib/etc/kamailio-understudy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	k := &kamailioServer{
		Port: ports[0], Replay: ports[1], Push: ports[2], Domain: 1, Include: include, dir: t.TempDir(), began: time.Now(),
	}
	k.RPC = filepath.Join(k.dir, "rpc.sock")
	for _, o := range options {
		o(k)
	}
	var config bytes.Buffer
	if err := kamailioConfig.Execute(&config, k); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "kamailio.cfg"), config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.stop)
	k.start(t)
	return k
}

// start returns when the server answers.
func (k *kamailioServer) start(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		t.Fatalf("these tests need the package kamailio: %v", err)
	}
	cmd := exec.Command(path, "-DD", "-E", "-f", filepath.Join(k.dir, "kamailio.cfg"), "-Y", k.dir, "-m", "64", "-M", "8")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(k.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.process = &kamailioProcess{cmd: cmd, wait: sync.OnceFunc(func() { _ = cmd.Wait() })}
	go k.process.wait()
	conn := k.dial(t, "udp")
	for range 200 {
		conn.send("OPTIONS", "sip:nobody@example.net", "Call-ID: start\r\nCSeq: 1 OPTIONS\r\n")
		if conn.receive(50*time.Millisecond) != "" {
			return
		}
		time.Sleep(20 * time.Millisecond) // a refused datagram ends the wait at once
	}
	text, _ := os.ReadFile(filepath.Join(k.dir, "log"))
	t.Fatalf("Kamailio does not answer: %s", text)
}

// stop ends everything that is left of it.
func (k *kamailioServer) stop() {
	if k.process == nil {
		return
	}
	group := k.process.cmd.Process.Pid
	_ = unix.Kill(-group, unix.SIGKILL)
	k.process.wait()
	for range 1000 {
		if errors.Is(unix.Kill(-group, 0), unix.ESRCH) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	k.process = nil
}

// quiet checks that the server's log has nothing to complain of.
func (k *kamailioServer) quiet(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "CRITICAL") || strings.Contains(line, "WARNING") {
			t.Errorf("the server complains: %s", line)
		}
	}
}

// adapter is a Kamailio of ours for the server.
func (k *kamailioServer) adapter(t *testing.T, options ...func(*KamailioOptions)) *Kamailio {
	t.Helper()
	o := DefaultKamailioOptions()
	o.RPC = k.RPC
	o.Replay = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(k.Replay))
	o.Push = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(k.Push))
	o.Now = func() time.Duration { return time.Since(k.began) }
	o.Limit = 10 * time.Second
	o.Logger = zap.NewNop()
	for _, f := range options {
		f(&o)
	}
	a, err := NewKamailio(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// phone is a connection to the server.
type phone struct {
	t *testing.T
	net.Conn
	count int
}

func (k *kamailioServer) dial(t *testing.T, network string) *phone {
	t.Helper()
	conn, err := net.Dial(network, fmt.Sprintf("127.0.0.1:%d", k.Port))
	for range 100 {
		if err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
		conn, err = net.Dial(network, fmt.Sprintf("127.0.0.1:%d", k.Port))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &phone{t: t, Conn: conn}
}

// send sends a request with the given headers, Call-ID and CSeq among them.
func (p *phone) send(method, uri, headers string) {
	p.count++
	transport := strings.ToUpper(p.LocalAddr().Network())
	fmt.Fprintf(p, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%d.%d\r\nMax-Forwards: 70\r\nFrom: <%[2]s>;tag=1\r\nTo: <%[2]s>\r\n%[7]sContent-Length: 0\r\n\r\n",
		method, uri, transport, p.LocalAddr(), p.count, time.Now().UnixNano(), headers)
}

// receive gives the next message; empty if none comes.
func (p *phone) receive(within time.Duration) string {
	buffer := make([]byte, 65536)
	_ = p.SetReadDeadline(time.Now().Add(within))
	n, err := p.Read(buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:n])
}

// register registers and wants a 200.
func (p *phone) register(aor, callID string, cseq int, headers string) {
	p.t.Helper()
	p.send("REGISTER", "sip:"+aor, fmt.Sprintf("Call-ID: %s\r\nCSeq: %d REGISTER\r\n%s", callID, cseq, headers))
	if answer := p.receive(10 * time.Second); !strings.HasPrefix(answer, "SIP/2.0 200 ") {
		p.t.Fatalf("REGISTER %s: got %q", aor, answer)
	}
}

// bounded is a context that ends before a hanging test would.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
