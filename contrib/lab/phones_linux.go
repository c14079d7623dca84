package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Phones are many SIP phones at host c, at one address, and somebody there who calls them. They register and are called through the service
// address.
type Phones struct {
	conn   *net.UDPConn // of the phones
	caller *net.UDPConn
	wg     sync.WaitGroup

	mu     sync.Mutex
	cseq   []int // of each phone's last REGISTER
	branch uint64
	open   map[string]chan int     // transactions under way, by branch: the final answer's code
	rang   map[int]map[string]bool // of each phone that was called: the transactions
	lines  func(phone int) string
}

// phoneWindow is how many requests may be under way at a time.
const phoneWindow = 128

// Phones makes phones. None is registered yet.
func (l *Lab) Phones(n int) (*Phones, error) {
	p := &Phones{cseq: make([]int, n), open: map[string]chan int{}, rang: map[int]map[string]bool{}}
	var err error
	if p.conn, err = l.listen(client, netip.AddrPortFrom(Addr(client, SIP), 0)); err != nil {
		return nil, err
	}
	if p.caller, err = l.listen(client, netip.AddrPortFrom(Addr(client, SIP), 0)); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	for _, c := range []*net.UDPConn{p.conn, p.caller} {
		if err := c.SetReadBuffer(8 << 20); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.wg.Go(func() { p.hear(c) })
	}
	return p, nil
}

// Close ends the phones, without a word to anybody.
func (p *Phones) Close() error {
	err := errors.Join(p.conn.Close(), p.caller.Close())
	p.wg.Wait()
	return err
}

// Len is how many phones there are.
func (p *Phones) Len() int { return len(p.cseq) }

// User is the user part of a phone's address of record.
func (p *Phones) User(phone int) string { return fmt.Sprintf("p%06d", phone) }

// With adds header lines to what phones send when they register, each line with its CRLF.
func (p *Phones) With(lines func(phone int) string) { p.lines = lines }

// Register registers the phones from one number up to another, for so many seconds; 0 is to leave. It gives an error for each that was not
// answered with 200.
func (p *Phones) Register(ctx context.Context, from, to, expires int) error {
	return p.each(ctx, from, to, func(i int) (*net.UDPConn, string) {
		p.mu.Lock()
		p.cseq[i]++
		cseq := p.cseq[i]
		p.mu.Unlock()
		extra := ""
		if p.lines != nil {
			extra = p.lines(i)
		}
		at := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
		return p.conn, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=%%[1]s;rport\r\nFrom: <sip:%[3]s@%[1]s>;tag=p%[4]d\r\n"+
			"To: <sip:%[3]s@%[1]s>\r\nCall-ID: phone-%[4]d@lab\r\nCSeq: %[5]d REGISTER\r\nMax-Forwards: 70\r\nUser-Agent: lab phone\r\n"+
			"Contact: <sip:%[3]s@%[2]s>;expires=%[6]d\r\n%[7]sContent-Length: 0\r\n\r\n", ServiceAddress, at, p.User(i), i, cseq, expires, extra)
	}, 200)
}

// Call sends each of the phones an INVITE, which it declines as busy. It gives an error for each that did not get one, or could not answer.
func (p *Phones) Call(ctx context.Context, from, to int) error {
	return p.each(ctx, from, to, func(i int) (*net.UDPConn, string) {
		at := p.caller.LocalAddr().(*net.UDPAddr).AddrPort()
		return p.caller, fmt.Sprintf("INVITE sip:%[3]s@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=%%[1]s;rport\r\nFrom: <sip:caller@%[1]s>;tag=%%[1]s\r\n"+
			"To: <sip:%[3]s@%[1]s>\r\nCall-ID: %%[1]s@lab\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:caller@%[2]s>\r\nContent-Length: 0\r\n\r\n",
			ServiceAddress, at, p.User(i))
	}, 486)
}

// each sends one request for each of some phones, some at a time, and again what was not answered.
func (p *Phones) each(ctx context.Context, from, to int, request func(i int) (*net.UDPConn, string), want int) error {
	room, errs := make(chan struct{}, phoneWindow), make([]error, to-from)
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			conn, text := request(i)
			code, err := p.transact(ctx, conn, text)
			if err == nil && code != want {
				err = fmt.Errorf("answered %d", code)
			}
			if err != nil {
				errs[i-from] = fmt.Errorf("phone %d: %w", i, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// transact sends a request until it is answered or ctx ends.
func (p *Phones) transact(ctx context.Context, conn *net.UDPConn, text string) (code int, err error) {
	p.mu.Lock()
	p.branch++
	branch := fmt.Sprintf("z9hG4bKp%d", p.branch)
	final := make(chan int, 1)
	p.open[branch] = final
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, branch)
		p.mu.Unlock()
	}()
	msg := []byte(fmt.Sprintf(text, branch))
	for wait := timerT1; ; wait = min(2*wait, timerT2) {
		if _, err := conn.WriteToUDPAddrPort(msg, netip.AddrPortFrom(ServiceAddress, Port)); err != nil {
			return 0, err
		}
		select {
		case code := <-final:
			return code, nil
		case <-ctx.Done():
			return 0, errors.New("no answer")
		case <-time.After(wait):
		}
	}
}

// hear takes what comes to a socket: answers, and calls.
func (p *Phones) hear(conn *net.UDPConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error
		}
		msg := buf[:n]
		if code, ok := statusCode(msg); ok {
			p.answered(conn, msg, code)
			continue
		}
		if bytes.HasPrefix(msg, []byte("INVITE ")) {
			p.called(msg)
			_, _ = conn.WriteToUDPAddrPort(response(msg, "486 Busy Here"), from)
		}
	}
}

func statusCode(msg []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(msg, []byte("SIP/2.0 "))
	if !ok || len(rest) < 3 {
		return 0, false
	}
	code, err := strconv.Atoi(string(rest[:3]))
	return code, err == nil
}

// branchOf is the branch of the first Via.
func branchOf(msg []byte) string {
	_, rest, _ := bytes.Cut(header(msg, "Via"), []byte(";branch="))
	branch, _, _ := bytes.Cut(rest, []byte(";"))
	return string(branch)
}

// answered ends a transaction; an answer to an INVITE is acknowledged (RFC 3261, 17.1.1.3).
func (p *Phones) answered(conn *net.UDPConn, msg []byte, code int) {
	if code < 200 {
		return
	}
	branch := branchOf(msg)
	p.mu.Lock()
	final := p.open[branch]
	p.mu.Unlock()
	if bytes.HasSuffix(header(msg, "CSeq"), []byte("INVITE")) {
		ack := fmt.Appendf(nil, "ACK sip:%s SIP/2.0\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
			ServiceAddress, header(msg, "Via"), header(msg, "From"), header(msg, "To"), header(msg, "Call-ID"))
		_, _ = conn.WriteToUDPAddrPort(ack, netip.AddrPortFrom(ServiceAddress, Port))
	}
	if final != nil {
		select {
		case final <- code:
		default:
		}
	}
}

// called notes a call. What is sent again is the same call.
func (p *Phones) called(msg []byte) {
	user, _, _ := bytes.Cut(bytes.TrimPrefix(msg, []byte("INVITE sip:p")), []byte("@"))
	i, err := strconv.Atoi(string(user))
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rang[i] == nil {
		p.rang[i] = map[string]bool{}
	}
	p.rang[i][branchOf(msg)] = true
}

// Rang is how many calls each phone got since the last Rang.
func (p *Phones) Rang() map[int]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[int]int{}
	for i, calls := range p.rang {
		n[i] = len(calls)
	}
	p.rang = map[int]map[string]bool{}
	return n
}

// response answers a request as RFC 3261, 8.2.6 has it.
func response(msg []byte, status string) []byte {
	out := []byte("SIP/2.0 " + status + "\r\n")
	for line := range bytes.SplitSeq(msg, []byte("\r\n")) {
		if len(line) == 0 {
			break
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
		case bytes.EqualFold(name, []byte("To")):
			out = append(append(out, line...), ";tag=phone\r\n"...)
		case bytes.EqualFold(name, []byte("Via")), bytes.EqualFold(name, []byte("From")), bytes.EqualFold(name, []byte("Call-ID")),
			bytes.EqualFold(name, []byte("CSeq")), bytes.EqualFold(name, []byte("Record-Route")):
			out = append(append(out, line...), "\r\n"...)
		}
	}
	return append(out, "Content-Length: 0\r\n\r\n"...)
}
