package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sipd is the embedded SIP server: it answers OPTIONS, keeps registrations in memory and knows nobody else. Like a server made
// for a service address that moves, it is bound to it all the time (IP_FREEBIND).
type sipd struct {
	name string

	mu        sync.Mutex
	behaviour Behaviour
	asked     uint                            // requests since then
	bindings  map[string]map[string]time.Time // address of record, Contact URI: end of the binding
}

// defaultExpires is what a REGISTER without any Expires asks for.
const defaultExpires = 3600

// runSIPD serves until ctx ends.
func runSIPD(ctx context.Context, name, listen string) error {
	own, err := netip.ParseAddrPort(listen)
	if err != nil {
		return fmt.Errorf("address of the SIP server: %w", err)
	}
	s := &sipd{name: name, behaviour: Normal, bindings: map[string]map[string]time.Time{}}
	freebind := net.ListenConfig{Control: setFreebind}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, a := range []netip.Addr{own.Addr(), ServiceAddress, ServiceAddress6} {
		conn, err := freebind.ListenPacket(ctx, "udp", netip.AddrPortFrom(a, own.Port()).String())
		if err != nil {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
		for range workers {
			wg.Go(func() { s.serve(ctx, conn.(*net.UDPConn)) })
		}
	}
	<-ctx.Done()
	return nil
}

// setFreebind lets a socket be bound to an address that the host doesn't have yet.
func setFreebind(network, _ string, c syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_FREEBIND
	if network == "udp6" {
		level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	var set error
	err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, set)
}

func (s *sipd) serve(ctx context.Context, conn *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			continue // an ICMP error of an earlier answer, or the end
		}
		if reply := s.answer(buf[:n], from); reply != nil {
			_, _ = conn.WriteToUDPAddrPort(reply, from) // a client that can't be reached asks again
		}
	}
}

// answer builds the response to a request, or nil for what is none.
func (s *sipd) answer(msg []byte, from netip.AddrPort) []byte {
	line, _, found := bytes.Cut(msg, []byte("\r\n"))
	method, _, isRequest := bytes.Cut(line, []byte(" "))
	if !found || !isRequest || !bytes.HasSuffix(line, []byte(" SIP/2.0")) || string(method) == "ACK" {
		return nil
	}
	if string(method) == "INFO" && header(msg, "X-Fault") != nil {
		s.behave(Behaviour(header(msg, "X-Fault")))
		return s.response(msg, "200 OK", "", from)
	}
	if header(msg, "X-Stall") != nil {
		time.Sleep(stalled)
	}
	status, extra := "501 Not Implemented", ""
	switch string(method) {
	case "OPTIONS":
		status = "200 OK"
	case "REGISTER":
		status, extra = s.register(msg, time.Now())
	case "INVITE":
		status = "486 Busy Here"
	case "MESSAGE":
		status = "404 Not Found"
	}
	other, silent := s.misbehave(string(method))
	if silent {
		return nil
	}
	return s.response(msg, cmp.Or(other, status), extra, from)
}

func (s *sipd) behave(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour, s.asked = b, 0
}

// misbehave is what a behaviour makes of a request: another status, or no answer.
func (s *sipd) misbehave(method string) (status string, silent bool) {
	s.mu.Lock()
	b := s.behaviour
	s.asked++
	odd := s.asked%2 == 1
	s.mu.Unlock()
	options := method == "OPTIONS"
	switch {
	case b == Slow:
		time.Sleep(20 * time.Millisecond)
	case b == OptionsDead && options:
		return "", true
	case b == Options404 && options:
		return "404 Not Found", false
	case b == Options405 && options:
		return "405 Method Not Allowed", false
	case b == Options501 && options:
		return "501 Not Implemented", false
	case b == Overloaded && odd:
		return "503 Service Unavailable", false
	}
	return "", false
}

// response copies what RFC 3261 8.2.6.2 wants copied.
func (s *sipd) response(msg []byte, status, extra string, from netip.AddrPort) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %s\r\n", status)
	first := true
	for line := range bytes.SplitSeq(msg, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch strings.ToLower(string(name)) {
		case "via", "v":
			if first { // RFC 3581
				value = bytes.Replace(value, []byte(";rport"), fmt.Appendf(nil, ";received=%s;rport=%d", from.Addr().Unmap(), from.Port()), 1)
				first = false
			}
			fmt.Fprintf(&b, "Via:%s\r\n", value)
		case "from", "f", "call-id", "i", "cseq":
			fmt.Fprintf(&b, "%s\r\n", line)
		case "to", "t":
			if !bytes.Contains(value, []byte(";tag=")) {
				value = append(bytes.Clone(value), ";tag=sipd"...)
			}
			fmt.Fprintf(&b, "To:%s\r\n", value)
		}
		if len(line) == 0 {
			break
		}
	}
	fmt.Fprintf(&b, "X-Server: %s\r\n%sContent-Length: 0\r\n\r\n", s.name, extra)
	return b.Bytes()
}

// register changes the bindings of an address of record and lists those that stand, RFC 3261 10.3. One Contact per REGISTER.
func (s *sipd) register(msg []byte, now time.Time) (status, lines string) {
	aor := uriOf(string(header(msg, "To")))
	contact := string(header(msg, "Contact"))
	expires, err := expiresOf(contact, string(header(msg, "Expires")))
	if aor == "" || err != nil {
		return "400 Bad Request", ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := s.bindings[aor]
	if bound == nil {
		bound = map[string]time.Time{}
		s.bindings[aor] = bound
	}
	switch uri := uriOf(contact); {
	case contact == "*" && expires == 0:
		clear(bound)
	case uri != "" && expires == 0:
		delete(bound, uri)
	case uri != "":
		bound[uri] = now.Add(time.Duration(expires) * time.Second)
	}
	for uri, end := range bound {
		if !end.After(now) {
			delete(bound, uri)
			continue
		}
		lines += fmt.Sprintf("Contact: <%s>;expires=%d\r\n", uri, int(end.Sub(now).Round(time.Second).Seconds()))
	}
	return "200 OK", lines
}

// uriOf takes the URI out of an address like `"Ann" <sip:ann@x>;tag=1`.
func uriOf(value string) string {
	if _, rest, found := strings.Cut(value, "<"); found {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// expiresOf reads the expires parameter of a Contact, else the Expires header, in seconds.
func expiresOf(contact, header string) (int, error) {
	if _, after, found := strings.Cut(contact[strings.LastIndexByte(contact, '>')+1:], "expires="); found {
		header, _, _ = strings.Cut(after, ";")
	}
	if header == "" {
		return defaultExpires, nil
	}
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("expires %q", header)
	}
	return n, nil
}
