package traffic

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Messages over TCP are counted once each although segments are lost on their way to us (late ones fill the holes) or behind us (they are
// seen twice).
func TestMonitor_TCPLoss(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatalf("this test needs the package nftables: %v", err)
	}
	// A twentieth of the segments.
	const table = `table inet lossy { chain drops { type filter hook %s priority 0; tcp dport 5060 numgen random mod 20 0 drop; }; }`
	for name, lose := range map[string]func(*testing.T, far) error{
		"before us": func(_ *testing.T, h far) error {
			return <-h.start(func() error { return nft(fmt.Sprintf(table, "output")) })
		},
		"behind us": func(t *testing.T, _ far) error {
			t.Cleanup(func() {
				if err := nft("delete table inet lossy"); err != nil {
					t.Error(err)
				}
			})
			return nft(fmt.Sprintf(table, "prerouting"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFar(t)
			l, err := net.Listen("tcp", here4+":5060")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			m := run(t, standard())
			var client net.Conn
			h.do(t, func() (err error) { client, err = net.Dial("tcp", here4+":5060"); return err })
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			received := make(chan error, 1)
			const messages = 2000
			text := func(i int) string { return request("INFO", fmt.Sprintf("%05d", i), 1) }
			go func() {
				_, err := io.CopyN(io.Discard, server, int64(messages*len(text(0))))
				received <- err
			}()
			if err := lose(t, h); err != nil {
				t.Fatal(err)
			}
			for i := range messages {
				if _, err := io.WriteString(client, text(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-received; err != nil {
				t.Fatal(err)
			}
			s := await(t, m, "all messages", func(s Stats) bool { return s.In.Requests[10] >= messages })
			if s.In.Total() != messages || s.ParseErrors != 0 {
				t.Errorf("got %d messages, %d parse errors, want %d and none", s.In.Total(), s.ParseErrors, messages)
			}
		})
	}
}

// nft has the tool read what to do.
func nft(script string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}
