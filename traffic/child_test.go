package traffic

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Some tests need other processes: so that what the monitor uses is not mixed with what makes the traffic, or in another namespace.
const childVariable = "UNDERSTUDY_TRAFFIC_CHILD"

// tallyOf is what a child says about itself when it ends.
type tallyOf struct{ Sent, Received uint64 }

// child runs one of these when the variable names it, with the arguments behind the name, and exits.
func child(line string) {
	words := strings.Fields(line)
	run := map[string]func(args []string) (tallyOf, error){
		"answer": answerAll, "ask": askAtRate, "flood": flood, "sipgo-server": sipgoServer, "sipgo-client": sipgoClient,
	}[words[0]]
	got, err := run(words[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", line, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a child that runs. It ends when its input does.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	input io.Closer
	out   *bufio.Reader
	name  string
}

// spawn starts a child, on the far host if there is one, and waits until it is ready.
func spawn(t testing.TB, h *far, words ...any) *process {
	t.Helper()
	name := strings.TrimSpace(fmt.Sprintln(words...))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	launch(t, h, cmd)
	p := &process{t: t, cmd: cmd, input: input, out: bufio.NewReader(out), name: name}
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: got %q, %v, want that it is ready", name, line, err)
	}
	return p
}

// launch starts cmd, on the far host if there is one, and sees to it that it doesn't outlive the test.
func launch(t testing.TB, h *far, cmd *exec.Cmd) {
	t.Helper()
	var err error
	if h == nil {
		err = cmd.Start()
	} else {
		h.do(t, cmd.Start)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// end closes the child's input and gives what it says.
func (p *process) end() (got tallyOf) {
	p.t.Helper()
	_ = p.input.Close()
	return p.wait()
}

func (p *process) wait() (got tallyOf) {
	p.t.Helper()
	if err := json.NewDecoder(p.out).Decode(&got); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	return got
}

// ready tells the parent, and gives a channel that is closed when its end of the input is.
func ready() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	fmt.Println("ready")
	return done
}

// answerAll answers OPTIONS over UDP: address.
func answerAll(args []string) (got tallyOf, err error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(args[0])))
	if err != nil {
		return got, err
	}
	_ = conn.SetReadBuffer(8 << 20)
	done := ready()
	go func() {
		<-done
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // what is there already is still answered
	}()
	b := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return got, nil //nolint:nilerr // the end
		}
		got.Received++
		text := string(b[:n])
		_, rest, _ := strings.Cut(text, "\r\n")
		rest = strings.TrimSuffix(rest, "Content-Length: 0\r\n\r\n")
		if _, err := conn.WriteToUDPAddrPort([]byte("SIP/2.0 200 OK\r\n"+rest+"Content-Length: 0\r\n\r\n"), from); err == nil {
			got.Sent++
		}
	}
}

// askAtRate sends OPTIONS over UDP: address, number a second, seconds.
func askAtRate(args []string) (got tallyOf, err error) {
	rate, _ := strconv.Atoi(args[1])
	seconds, _ := strconv.ParseFloat(args[2], 64)
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(args[0])))
	if err != nil {
		return got, err
	}
	_ = ready()
	padding := strings.Repeat("x", 100)
	start := time.Now()
	for total := int(float64(rate) * seconds); int(got.Sent) < total; time.Sleep(time.Millisecond) {
		due := min(total, int(time.Since(start).Seconds()*float64(rate)))
		due = min(due, int(got.Sent)+max(1, rate/50)) // a sender that was held up does not catch up all at once
		for int(got.Sent) < due {
			if _, err := conn.Write([]byte(request("OPTIONS", fmt.Sprintf("%s%d", padding, got.Sent), 1))); err != nil {
				return got, err
			}
			got.Sent++
		}
	}
	return got, nil
}

// flood sends frames that are hostile: the MAC address to send to, number a second, seconds.
func flood(args []string) (got tallyOf, err error) {
	mac, err := net.ParseMAC(args[0])
	if err != nil {
		return got, err
	}
	rate, _ := strconv.Atoi(args[1])
	seconds, _ := strconv.ParseFloat(args[2], 64)
	link, err := net.InterfaceByName(wire)
	if err != nil {
		return got, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return got, err
	}
	at, rng := &unix.SockaddrLinklayer{Ifindex: link.Index}, rand.New(rand.NewPCG(1, 2))
	_ = ready()
	head := append(mac, link.HardwareAddr...)
	start := time.Now()
	for total := int(float64(rate) * seconds); int(got.Sent) < total; time.Sleep(time.Millisecond) {
		due := min(total, int(time.Since(start).Seconds()*float64(rate)))
		for int(got.Sent) < due {
			_ = unix.Sendto(fd, append(head[:12:12], hostile(rng)...), 0, at) // too long for the interface: fine
			got.Sent++
		}
	}
	return got, nil
}
