package oos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/oos/wire"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// udp probes one target over a connected UDP socket: the kernel then tells us of ICMP errors, as an error of the next call.
type udp struct {
	*watch
	msg    *message
	in     []byte
	poller *raw.Poller
	socket *raw.Socket

	turn    time.Duration // the present moment, read once a turn
	planned time.Duration // when the next turn was due at the latest
	hard    error         // of the last send
	opened  time.Duration
}

func newUDP(w *watch) *udp { return &udp{watch: w, in: make([]byte, 8<<10)} }

// errAnew ends the use of one socket.
var errAnew = errors.New("the socket should be opened anew")

// run probes until ctx ends.
func (u *udp) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := u.open(); err != nil {
			u.turn = u.now()
			u.unsent("cannot ask: " + wire.Reason(err))
			u.plan(u.turn)
			u.conclude(u.turn)
			u.pause(ctx, u.next)
			continue
		}
		u.serve(ctx)
		_ = errors.Join(u.poller.Close(), u.socket.Close()) // nothing was buffered
	}
}

func (u *udp) open() (err error) {
	dialer := net.Dialer{}
	if u.From.IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(u.From, 0))
	}
	conn, err := dialer.Dial("udp", u.Addr.String())
	if err != nil {
		return err
	}
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return errors.Join(fmt.Errorf("local address: %w", err), conn.Close())
	}
	if u.socket, err = raw.Detach(conn.(*net.UDPConn)); err != nil {
		return err
	}
	if u.poller, err = raw.NewPoller(u.round); err == nil {
		err = u.poller.Watch(u.socket, u.round)
	}
	if err != nil {
		return errors.Join(err, u.socket.Close())
	}
	u.msg = newMessage(UDP, local, u.Addr)
	u.opened = u.now()
	return nil
}

// serve probes on one socket until ctx ends, or until the socket should be opened anew: nothing can be sent from it, or silence makes
// its route and source address doubtful.
func (u *udp) serve(ctx context.Context) {
	u.planned = u.now()
	err := u.round()
	if err == nil {
		err = u.poller.Run(ctx)
	}
	if err != nil && u.stuck {
		u.pause(ctx, u.next)
	}
}

// round takes what has arrived, judges, asks if it is time to, and sets the alarm.
func (u *udp) round() error {
	u.turn = u.now()
	u.receive()
	if u.isLate(u.turn, u.planned) {
		u.late(u.turn)
	}
	u.conclude(u.turn)

	u.turn = u.now()
	if u.isLate(u.turn, u.looked) {
		u.receive()
		u.late(u.turn)
	}
	if u.turn >= u.due() {
		u.send()
		u.conclude(u.turn)
	}
	if u.hard != nil || (u.basis == silence && u.turn-u.opened > u.Silence) {
		u.hard = nil
		return errAnew
	}
	u.planned = u.wake()
	u.poller.Alarm(u.planned - u.now())
	return nil
}

// send sends the next probe.
func (u *udp) send() {
	u.receive() // takes an error that the kernel holds for the next call
	b := u.msg.next(u.turn)
	err := u.socket.Send(b, raw.Addr{})
	if errors.Is(err, unix.ECONNREFUSED) { // it came in between
		u.refused(u.turn, "")
		err = u.socket.Send(b, raw.Addr{})
	}
	u.plan(u.turn)
	switch {
	case err == nil, errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EHOSTUNREACH):
		u.sent(u.turn)
		u.receive() // on the same host a refusal is here already
	default:
		u.hard = err
		u.unsent("cannot ask: " + err.Error())
	}
}

// receiveAtOnce bounds how long a flood of datagrams can keep us.
const receiveAtOnce = 256

// receive reads whatever has arrived, errors included.
func (u *udp) receive() {
	for range receiveAtOnce {
		n, err := u.socket.Receive(u.in)
		switch {
		case err == nil:
			u.take(u.in[:n])
		case errors.Is(err, unix.EAGAIN), errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, unix.ECONNREFUSED):
			u.refused(u.turn, "")
		} // other errors, such as an unreachable host, only say that there is no answer
	}
}

func (u *udp) take(b []byte) {
	r, ok := wire.ParseReply(b)
	if !ok || r.Code < 200 {
		return
	}
	seq, ok := u.msg.identify(r)
	if !ok {
		return
	}
	at := u.now()
	if rtt, ok := u.msg.settle(seq, at); ok {
		u.took(at, r.Code, rtt)
	}
}
