package status

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// serve runs the API of a fake daemon on a real socket for one test.
func serve(t *testing.T, daemon *fake, prepare func(*Server)) (*Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "run", "u.sock")
	server, err := New(daemon, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(server)
	}
	listener, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listener) }()
	client := NewClient(socket)
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return client, socket
}

func self(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// What the daemon says arrives as it was said.
func TestAPI_reads(t *testing.T) {
	daemon := newFake()
	client, _ := serve(t, daemon, nil)
	got, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := daemon.Snapshot(); !reflect.DeepEqual(got, want) {
		t.Errorf("status: got %+v\nwant %+v", got, want)
	}
	history, err := client.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := daemon.History(); !reflect.DeepEqual(history, want) {
		t.Errorf("history: got %+v\nwant %+v", history, want)
	}
}

// An order reaches the daemon once, with the member filled in and the user that the kernel names, whatever the client claims to be.
func TestAPI_switchover(t *testing.T) {
	daemon := newFake()
	client, _ := serve(t, daemon, nil)
	dry, err := client.Switchover(t.Context(), SwitchoverRequest{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(daemon.orders) != 0 || !dry.DryRun || len(dry.Steps) == 0 {
		t.Fatalf("dry run: %+v, orders %+v", dry, daemon.orders)
	}
	response, err := client.Switchover(t.Context(), SwitchoverRequest{Reason: "kernel update", By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	by := self(t)
	if os.Getuid() == 0 {
		by = "ann (root)"
	}
	want := []SwitchoverOrder{{To: "edge-b", Reason: "kernel update", By: by}}
	if !reflect.DeepEqual(daemon.orders, want) {
		t.Errorf("orders: got %+v, want %+v", daemon.orders, want)
	}
	if response.From != "edge-a" || response.To != "edge-b" || response.Epoch != 42 || response.TookMS != 7.3 || response.DryRun {
		t.Errorf("response: %+v", response)
	}
}

// An election under way is waited for, not reported as a refusal.
func TestAPI_switchoverWaitsForLeader(t *testing.T) {
	daemon := newFake()
	daemon.in.Leader = ""
	client, _ := serve(t, daemon, nil)
	elected := time.AfterFunc(50*time.Millisecond, func() {
		daemon.mu.Lock()
		defer daemon.mu.Unlock()
		daemon.in.Leader = "edge-b"
	})
	defer elected.Stop()
	if _, err := client.Switchover(t.Context(), SwitchoverRequest{}); err != nil || len(daemon.orders) != 1 {
		t.Errorf("%v, orders %+v", err, daemon.orders)
	}
}

// A pause has an end by the daemon's clock; a resume without a pause says so and harms nothing.
func TestAPI_pauseAndResume(t *testing.T) {
	daemon := newFake()
	client, _ := serve(t, daemon, nil)
	got, err := client.Pause(t.Context(), PauseRequest{For: "38m", Reason: "kernel update"})
	if err != nil {
		t.Fatal(err)
	}
	want := supervisor.Pause{Until: noon.Add(38 * time.Minute), Reason: "kernel update", By: self(t)}
	if got != want || len(daemon.pauses) != 1 || daemon.pauses[0] != want {
		t.Errorf("pause: got %+v, kept %+v, want %+v", got, daemon.pauses, want)
	}
	for _, was := range []bool{true, false} {
		response, err := client.Resume(t.Context(), ResumeRequest{})
		if err != nil || response.WasPaused != was {
			t.Errorf("resume: got %+v, %v, want was_paused %v", response, err, was)
		}
	}
}

// What the daemon refuses reaches the person with its hint and status; other failures are 500 and tell the cause.
func TestAPI_refusals(t *testing.T) {
	daemon := newFake()
	client, _ := serve(t, daemon, nil)
	daemon.err = &Error{Status: http.StatusConflict, Message: "another switchover is under way", Hint: "wait for it"}
	_, err := client.Switchover(t.Context(), SwitchoverRequest{})
	var refusal *Error
	if !errors.As(err, &refusal) || *refusal != *daemon.err.(*Error) {
		t.Errorf("got %#v", err)
	}
	daemon.err = errors.New("disk is full")
	_, err = client.Pause(t.Context(), PauseRequest{For: "1h", Reason: "r"})
	if !errors.As(err, &refusal) || refusal.Status != http.StatusInternalServerError || refusal.Message != "disk is full" {
		t.Errorf("got %#v", err)
	}
}

// An order that takes too long is answered, with the truth that it may still happen.
func TestAPI_slowOrder(t *testing.T) {
	daemon := newFake()
	daemon.block = true
	client, _ := serve(t, daemon, func(s *Server) { s.order = 10 * time.Millisecond })
	_, err := client.Switchover(t.Context(), SwitchoverRequest{})
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Status != http.StatusGatewayTimeout {
		t.Errorf("got %#v", err)
	}
}

// Requests that are not of the API's form are refused one by one, in JSON, and never reach the daemon.
func TestAPI_badRequests(t *testing.T) {
	daemon := newFake()
	server, err := New(daemon, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/", ""},
		{"GET", "/v2/status", ""},
		{"POST", "/v1/status", "{}"},
		{"GET", "/v1/switchover", ""},
		{"POST", "/v1/switchover", "not json"},
		{"POST", "/v1/switchover", `{"to":"edge-b"} {"to":"edge-a"}`},
		{"POST", "/v1/switchover", `{"too":"edge-b"}`},
		{"POST", "/v1/switchover", `{"to":7}`},
		{"POST", "/v1/switchover", `{"to":"edge-x"}`},
		{"POST", "/v1/switchover", `{"to":"wit-1"}`},
		{"POST", "/v1/switchover", `{"to":"edge-a"}`},
		{"POST", "/v1/switchover", `{"reason":"a\nb"}`},
		{"POST", "/v1/switchover", `{"reason":"\u001b[2J"}`},
		{"POST", "/v1/switchover", `{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`},
		{"POST", "/v1/switchover", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`},
		{"POST", "/v1/pause", ""},
		{"POST", "/v1/pause", `{"for":"1 hour","reason":"r"}`},
		{"POST", "/v1/pause", `{"for":"1s","reason":"r"}`},
		{"POST", "/v1/pause", `{"for":"1000h","reason":"r"}`},
		{"POST", "/v1/pause", `{"for":"-1h","reason":"r"}`},
		{"POST", "/v1/pause", `{"for":"1h"}`},
	} {
		recorder := newRecorder()
		request, err := http.NewRequest(c.method, "http://understudy"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		server.Handler().ServeHTTP(recorder, request)
		body := c.body
		if len(body) > 60 {
			body = body[:60] + "..."
		}
		text.WriteString(c.method + " " + c.path + " " + body + "\n  " + http.StatusText(recorder.status) + ": " + recorder.String())
	}
	golden(t, "bad-requests.txt", text.String())
	if len(daemon.orders)+len(daemon.pauses)+len(daemon.by) > 0 {
		t.Errorf("the daemon got %+v %+v %+v", daemon.orders, daemon.pauses, daemon.by)
	}
}

// recorder is a ResponseWriter that keeps the body.
type recorder struct {
	bytes.Buffer
	status int
	header http.Header
}

func newRecorder() *recorder               { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

// Nobody but the owner and the group may connect, whatever the umask.
func TestListen_mode(t *testing.T) {
	_, socket := serve(t, newFake(), nil)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o660); got != want {
		t.Errorf("got %o, want %o", got, want)
	}
}

// A socket of a dead daemon is replaced; a living daemon's and a file of somebody else are not touched.
func TestListen_whatIsThere(t *testing.T) {
	_, socket := serve(t, newFake(), nil)
	if _, err := Listen(t.Context(), socket); !errors.Is(err, ErrInUse) {
		t.Errorf("living: got %v, want %v", err, ErrInUse)
	}
	stale := filepath.Join(t.TempDir(), "stale")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(t.Context(), stale)
	if err != nil {
		t.Fatalf("stale: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after close: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file); err == nil {
		t.Error("file: no error")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("file: %q, %v", text, err)
	}
}

// More clients than connections wait their turn; the daemon stops while they hang on.
func TestServer_connectionsAreBounded(t *testing.T) {
	_, socket := serve(t, newFake(), nil)
	var held []net.Conn
	for range maxConnections + 8 {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held[:16] {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	client := NewClient(socket)
	defer client.Close()
	if _, err := client.Snapshot(t.Context()); err != nil {
		t.Errorf("after 16 have gone: %v", err)
	}
	// The rest is still open when the cleanup stops the server: it must not wait for them.
}

// A client without a daemon is told what to do, by the cause.
func TestClient_unreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	_ = listener.Close()
	for socket, want := range map[string]string{filepath.Join(dir, "none"): "start it", dead: "has died"} {
		_, err := NewClient(socket).Snapshot(t.Context())
		var unreachable *Unreachable
		if !errors.As(err, &unreachable) || !strings.Contains(unreachable.Hint, want) || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: got %v (%+v)", socket, err, unreachable)
		}
	}
}

// An answer that is not the API's is an error, not an empty status.
func TestClient_strangeServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	answers := []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, answer := range answers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	for _, answer := range answers {
		if s, err := NewClient(socket).Snapshot(t.Context()); err == nil {
			t.Errorf("%q: got %+v", answer, s)
		}
	}
	_ = listener.Close()
	<-done
}
