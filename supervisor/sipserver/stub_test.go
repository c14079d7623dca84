package sipserver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stubMain is a SIP server in a process of its own: it answers 200 to everything over one transport. It does what it is told on its
// standard input and confirms each line: "open", "close", "deaf" (stop reading), "stall 800ms" (stop reading for so long), "slow 5ms" (take
// so long for each datagram).
func stubMain(transport string) {
	s := &stub{transport: transport}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		word, arg, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "open":
			if err := s.open(); err != nil {
				panic(err)
			}
		case "close":
			s.socket.Close()
		case "deaf":
			s.reading.Lock()
		case "slow":
			s.slow.Store(int64(duration(arg)))
		case "stall":
			s.reading.Lock()
			began := time.Now()
			time.Sleep(duration(arg))
			s.reading.Unlock()
			fmt.Println(time.Since(began))
			continue
		}
		fmt.Println("done")
	}
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return d
}

type stub struct {
	transport string
	socket    io.Closer
	reading   sync.Mutex
	slow      atomic.Int64
}

func (s *stub) open() error {
	if s.transport == "udp" {
		c, err := net.ListenPacket("udp", serverAddr)
		if err != nil {
			return err
		}
		s.socket = c
		go s.datagrams(c)
		return nil
	}
	l, err := net.Listen("tcp", serverAddr)
	if err != nil {
		return err
	}
	s.socket = l
	go func() {
		for {
			s.reading.Lock()
			s.reading.Unlock() //nolint:staticcheck // it only waits
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.stream(c)
		}
	}()
	return nil
}

// datagrams waits without taking a datagram, so that whoever holds the lock finds all later ones unread.
func (s *stub) datagrams(c net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		s.reading.Lock()
		_ = c.SetReadDeadline(time.Now().Add(5 * ms))
		n, from, err := c.ReadFrom(buf)
		if err == nil {
			time.Sleep(time.Duration(s.slow.Load()))
			_, _ = c.WriteTo(answerTo(buf[:n]), from)
		}
		s.reading.Unlock()
		if e, ok := err.(net.Error); err != nil && !(ok && e.Timeout()) {
			return
		}
	}
}

func (s *stub) stream(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		s.reading.Lock()
		_ = c.SetReadDeadline(time.Now().Add(5 * ms))
		n, err := c.Read(buf)
		if err == nil {
			_, _ = c.Write(answerTo(buf[:n]))
		}
		s.reading.Unlock()
		if e, ok := err.(net.Error); err != nil && !(ok && e.Timeout()) {
			return
		}
	}
}

// answerTo makes a request a 200.
func answerTo(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte("\r\n"))
	return append([]byte("SIP/2.0 200 OK\r\n"), rest...)
}

// stubProcess is a running stub.
type stubProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func startStub(t *testing.T, transport string) *stubProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stubVariable+"="+transport)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &stubProcess{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends it as SIGKILL does and waits for the end.
func (p *stubProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// do has it do something and returns what it says when it has.
func (p *stubProcess) do(line string) string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil || !p.out.Scan() {
		p.t.Fatalf("%s: %v, %v", line, err, p.out.Err())
	}
	return p.out.Text()
}
