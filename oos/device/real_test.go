package device

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const kamailioConfig = `
debug=0
log_stderror=yes
children=2
listen=udp:127.0.0.1:%[1]d
listen=tcp:127.0.0.1:%[1]d
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "maxfwd.so"
loadmodule "auth.so"
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	switch ($rU) {
	case "notfound":
		sl_send_reply("404", "Not Found");
		break;
	case "busy":
		append_to_reply("Retry-After: 30\r\n");
		sl_send_reply("503", "Service Unavailable");
		break;
	case "down":
		sl_send_reply("503", "Service Unavailable");
		break;
	case "silent":
		drop;
	case "user":
		if (!pv_www_authenticate("pair", "secret", "0")) {
			www_challenge("pair", "1");
			exit;
		}
		sl_send_reply("200", "Known");
		break;
	case "proxy":
		if (!pv_proxy_authenticate("pair", "secret", "0")) {
			proxy_challenge("pair", "1");
			exit;
		}
		sl_send_reply("202", "Known");
		break;
	default:
		sl_send_reply("200", "OK");
	}
}
`

// freePort gives a port that nobody has, for UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// run starts a program in a process group of its own, which is ended with the test.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: %v", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	})
}

func startKamailio(t *testing.T) (port int) {
	t.Helper()
	port = freePort(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, kamailioConfig, port), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "kamailio", "-DD", "-E", "-f", config, "-Y", dir, "-m", "16", "-M", "4")
	return port
}

// behindTLS accepts TLS and passes what is in it to a server that does not know it.
func behindTLS(t *testing.T, port int, cert tls.Certificate) net.Listener {
	t.Helper()
	return listenTCP(t, "127.0.0.1:0", func(c net.Conn) {
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(server, secure)
			server.Close()
		})
		_, _ = io.Copy(secure, server)
		c.Close()
		wg.Wait()
	})
}

// Kamailio over UDP, TCP and TLS: codes, Retry-After, silence, digest (RFC 3261 22), Max-Forwards 0 (S4-15).
func TestChecker_kamailio(t *testing.T) {
	port := startKamailio(t)
	cert, pool := certificate(t)
	gate := behindTLS(t, port, cert)
	known, wrong := &Credentials{"pair", "secret"}, &Credentials{"pair", "guess"}
	want := map[string]string{} // the state and how the text begins
	var devices []Device
	for _, transport := range []Transport{UDP, TCP, TLS} {
		for _, row := range []struct {
			user  string
			creds *Credentials
			hops  int
			want  string
		}{
			{"any", nil, 70, "in-service 200 in"},
			{"nohops", nil, 0, "in-service 483 in"},
			{"notfound", nil, 70, "in-service 404 in"},
			{"busy", nil, 70, "out-of-service 503, retry after 30s"},
			{"down", nil, 70, "out-of-service 503"},
			{"silent", nil, 70, "out-of-service no answer for "},
			{"user", nil, 70, "in-service 401 in"},
			{"user", known, 70, "in-service 200 in"},
			{"user", wrong, 70, "in-service 401 in"},
			{"proxy", known, 70, "in-service 202 in"},
		} {
			d := quick(fmt.Sprint(transport, len(devices), row.user), fmt.Sprintf("sip:%s@127.0.0.1:%d", row.user, port))
			d.Transport, d.Credentials, d.MaxForwards = transport, row.creds, row.hops
			if transport == TLS {
				d.URI, d.Addr = "sips:"+row.user+"@gw.example", gate.Addr().String()
			}
			d.Check, d.Force = sec, 2*sec
			devices = append(devices, d)
			want[d.Name] = row.want
		}
	}
	w := watch(t, func(o *Options) { o.TLS = &tls.Config{RootCAs: pool} }, devices...)
	settle(t, "the verdicts that are right", func() bool {
		for _, v := range w.Verdicts() {
			if !v.Confirmed || !strings.HasPrefix(string(v.State)+" "+v.Text, want[v.Device]) {
				return false
			}
		}
		return true
	})
	before := w.Stats()
	settle(t, "more answers", func() bool { return w.Stats().Answers > before.Answers+100 })
	for _, v := range w.Verdicts() {
		if !strings.HasPrefix(string(v.State)+" "+v.Text, want[v.Device]) {
			t.Errorf("%s: got %s %q, want %s", v.Device, v.State, v.Text, want[v.Device])
		}
	}
}

const sippScenario = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="device">
  <recv request="OPTIONS"/>
  <send><![CDATA[
SIP/2.0 %s
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
`

// sipp, which is built quite differently, over UDP and TCP (S4-15).
func TestChecker_sipp(t *testing.T) {
	want := map[string]string{}
	var devices []Device
	for name, status := range map[string]string{
		"in-service 200 in": "200 OK", "in-service 404 in": "404 Not Found", "in-service 500 in": "500 Server Error",
		"out-of-service 503, retry after 5m0s": "503 Service Unavailable\nRetry-After: 3600", "out-of-service 408": "408 Request Timeout",
	} {
		for _, transport := range []Transport{UDP, TCP} {
			port := freePort(t)
			scenario := filepath.Join(t.TempDir(), "device.xml")
			if err := os.WriteFile(scenario, fmt.Appendf(nil, sippScenario, status), 0o600); err != nil {
				t.Fatal(err)
			}
			letter := map[Transport]string{UDP: "u1", TCP: "t1"}[transport]
			run(t, "sipp", "-sf", scenario, "-i", "127.0.0.1", "-p", fmt.Sprint(port), "-t", letter, "-nostdin", "-nd")
			d := quick(fmt.Sprint(transport, port), fmt.Sprintf("sip:device@127.0.0.1:%d", port))
			d.Transport, d.Check, d.Force = transport, sec, 2*sec
			devices = append(devices, d)
			want[d.Name] = name
		}
	}
	w := watch(t, nil, devices...)
	settle(t, "the verdicts that are right", func() bool {
		for _, v := range w.Verdicts() {
			if !v.Confirmed || !strings.HasPrefix(string(v.State)+" "+v.Text, want[v.Device]) {
				return false
			}
		}
		return true
	})
	before := w.Stats()
	settle(t, "more answers", func() bool { return w.Stats().Answers > before.Answers+30 })
	for _, v := range w.Verdicts() {
		if !strings.HasPrefix(string(v.State)+" "+v.Text, want[v.Device]) {
			t.Errorf("%s: got %s %q, want %s", v.Device, v.State, v.Text, want[v.Device])
		}
	}
}
