package alarm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unixgram listens like /dev/log.
func unixgram(t *testing.T) (string, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, conn
}

func datagram(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 64<<10)
	n, _, err := conn.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// The message of RFC 5424 section 6, octet by octet as far as it can be known.
var wantSyslog = regexp.MustCompile(`^<130>1 2026-11-20T12:00:00\.250Z \S+ understudy \d+ nic-down ` +
	`\[alarm resource="edge-a" probableCause="other" perceivedSeverity="major"\]` +
	`\[understudy@32473 event="alarm-raised" condition="nic-down" id="7" eventId="00-52027" node="edge-a" cluster="sip-edge" evidence="no carrier"\] ` +
	"\xef\xbb\xbf" + `nic-down on edge-a: the "interface" \[eth1\] failed$`)

func TestSyslog_datagrams(t *testing.T) {
	path, local := unixgram(t)
	remote, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	for _, c := range []struct {
		s    Syslog
		conn net.PacketConn
	}{{Syslog{Network: "unix", Address: path, Facility: 16}, local}, {Syslog{Network: "udp", Address: remote.LocalAddr().String(), Facility: 16}, remote}} {
		if err := c.s.validate(nil); err != nil {
			t.Fatal(err)
		}
		sender := newSyslogSender(c.s, *testOptions())
		if err := sender.send(t.Context(), raised()); err != nil {
			t.Fatal(err)
		}
		if got := datagram(t, c.conn); !wantSyslog.MatchString(got) {
			t.Errorf("%s: %q", c.s.Network, got)
		}
		if err := sender.send(t.Context(), ended()); err != nil {
			t.Fatal(err)
		}
		if got := datagram(t, c.conn); !strings.HasPrefix(got, "<133>1 2026-11-20T12:01:00.250Z ") || !strings.Contains(got, `perceivedSeverity="cleared"`) {
			t.Errorf("%s: %q", c.s.Network, got)
		}
	}
}

// A syslog daemon that was started anew is found again; one that is not there, or reads nothing, is an error in time.
func TestSyslog_restartedAndDeaf(t *testing.T) {
	path, conn := unixgram(t)
	sender := newSyslogSender(Syslog{Network: "unix", Address: path}, *testOptions())
	if err := sender.send(t.Context(), raised()); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	_ = os.Remove(path)
	if err := sender.send(t.Context(), raised()); err == nil {
		t.Error("nobody was there")
	}
	again, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := sender.send(t.Context(), raised()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for range 100_000 { // until the socket's queue is full
		if err = sender.send(ctx, raised()); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a socket that nobody reads took everything")
	}
}

// Streams: octet counting (RFC 6587 section 3.4.1, RFC 5425), TLS verified, and a server that hung up is called again.
func TestSyslog_streams(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	certificate := server.TLS.Certificates[0]
	server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "tls"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if network == "tls" {
			listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
		}
		got := make(chan string, 10)
		served := make(chan struct{})
		go func() {
			defer close(served)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				r := bufio.NewReader(conn) // one message, then it hangs up
				length, err := r.ReadString(' ')
				if n, bad := strconv.Atoi(strings.TrimSpace(length)); err == nil && bad == nil {
					b := make([]byte, n)
					_, _ = io.ReadFull(r, b)
					got <- string(b)
				}
				conn.Close()
			}
		}()
		s := Syslog{Network: network, Address: listener.Addr().String(), Facility: 16}
		if network == "tls" {
			if err := newSyslogSender(s, *testOptions()).send(t.Context(), raised()); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("believed a stranger: %v", err)
			}
			s.CAFile = ca
		}
		sender := newSyslogSender(s, *testOptions())
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := sender.send(ctx, raised())
			cancel()
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			if m := <-got; !wantSyslog.MatchString(m) {
				t.Errorf("%s: %q", network, m)
			}
			if sender.conn != nil { // until the other end's good-bye is here
				_ = sender.conn.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = sender.conn.Read(make([]byte, 1))
			}
		}
		listener.Close()
		<-served
	}
}

// What a hostile peer puts into a text stays inside its field.
func TestSyslog_escapes(t *testing.T) {
	n := raised()
	n.Alarm.Evidence, n.Alarm.Condition = `"] [x y="z\`, "a b\x00ü"
	got := string(newSyslogSender(Syslog{}, *testOptions()).message(n))
	if !strings.Contains(got, `evidence="\"\] [x y=\"z\\"]`) || !strings.Contains(got, " a_b__ [alarm") {
		t.Errorf("%q", got)
	}
}

// The journal's native protocol: fields by lines, and by length where there are several.
func TestJournal(t *testing.T) {
	path, conn := unixgram(t)
	s := &journalSender{path: path}
	n := raised()
	n.Alarm.Evidence = "two\nlines"
	for _, c := range []struct {
		n    Notice
		want []string
	}{
		{n, []string{"MESSAGE=nic-down on edge-a: ", "MESSAGE_ID=" + JournalRaised + "\n", "PRIORITY=2\n", "SYSLOG_IDENTIFIER=understudy\n",
			"UNDERSTUDY_ALARM_ID=7\n", "UNDERSTUDY_ALARM_EVIDENCE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n"}},
		{ended(), []string{"MESSAGE_ID=" + JournalCleared + "\n", "PRIORITY=5\n", "UNDERSTUDY_ALARM_SEVERITY=cleared\n"}},
	} {
		if err := s.send(t.Context(), c.n); err != nil {
			t.Fatal(err)
		}
		got := datagram(t, conn)
		for _, want := range c.want {
			if !bytes.Contains([]byte(got), []byte(want)) {
				t.Errorf("no %q in %q", want, got)
			}
		}
	}
	if err := (&journalSender{path: path + "x"}).send(t.Context(), n); err == nil {
		t.Error("nobody was there")
	}
}
