package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// How long OpenSIPS keeps a subscription, and how often we renew it: one that has started anew knows nothing of the old one, and what
// changes until the renewal must be looked for.
const (
	subscription = time.Minute
	renewal      = 5 * time.Second
)

// eventNames are the events of modules/usrloc that tell of bindings. A refresh (E_UL_CONTACT_REFRESH) is a wish of OpenSIPS, no change.
var eventNames = []string{"E_UL_CONTACT_INSERT", "E_UL_CONTACT_UPDATE", "E_UL_CONTACT_DELETE"}

// parseEvent reads a datagram of event_datagram: a JSON-RPC notification, its method the event's name and its params those of
// modules/usrloc/ul_evi.c, as evi/evi_transport.c builds it. Events of other tables are none of ours.
func parseEvent(data []byte, table string) (Hint, bool) {
	var event struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  struct {
			Domain string `json:"domain"`
			AOR    string `json:"aor"`
			CallID string `json:"callid"`
			CSeq   int64  `json:"cseq"`
		} `json:"params"`
	}
	if json.Unmarshal(data, &event) != nil || event.Version != "2.0" {
		return Hint{}, false
	}
	known := false
	for _, name := range eventNames {
		known = known || name == event.Method
	}
	p := &event.Params
	if !known || p.Domain != table || p.AOR == "" || len(p.AOR) > aorLimit || !plain(p.AOR) {
		return Hint{}, false
	}
	return Hint{AOR: p.AOR, CallID: p.CallID, CSeq: uint32(p.CSeq)}, true
}

// aorLimit is the longest address of record that we handle, in octets.
const aorLimit = 1024

// Watch listens for the events and subscribes to them, again and again.
func (o *OpenSIPS) Watch(ctx context.Context, hint func(Hint)) error {
	if o.options.Events == "" {
		return ErrNoPush
	}
	conn, err := listenDatagram(o.options.Events)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		o.subscribe(ctx)
	}()
	defer func() {
		cancel()
		<-renewed
		conn.Close()
	}()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	buffer := make([]byte, miLimit)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("receive events at %s: %w", o.options.Events, err)
		}
		if h, ok := parseEvent(buffer[:n], o.options.Table); ok {
			hint(h)
		}
	}
}

// subscribe keeps the subscriptions alive until ctx ends.
func (o *OpenSIPS) subscribe(ctx context.Context) {
	ticker := time.NewTicker(o.renewal)
	defer ticker.Stop()
	lost := false
	for {
		err := o.subscribeOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !lost:
			o.options.Logger.Warn("events are not subscribed to", zap.Error(err))
		case err == nil && lost:
			o.options.Logger.Info("events are subscribed to again")
		}
		lost = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (o *OpenSIPS) subscribeOnce(ctx context.Context) error {
	for _, name := range eventNames {
		params := map[string]any{"event": name, "socket": o.options.Events, "expire": int(subscription / time.Second)}
		if err := o.mi.call(ctx, miMethod{"evi:subscribe", "event_subscribe"}, params, nil); err != nil {
			return err
		}
	}
	return nil
}

// eventBuffer is room for the events of some seconds, in octets.
const eventBuffer = 8 << 20

// enlarge asks for that much, whatever net.core.rmem_max says; without CAP_NET_ADMIN we get what that allows.
func enlarge(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
		}
	})
}

// listenDatagram listens at "unix:/path" or "udp:address:port". A file of that name that nobody listens at is of an earlier life of ours.
func listenDatagram(address string) (net.PacketConn, error) {
	network, name, err := datagramAddress(address)
	if err != nil {
		return nil, err
	}
	if network == "udp" {
		at, err := netip.ParseAddrPort(name)
		if err != nil {
			return nil, err
		}
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err == nil {
			enlarge(conn)
		}
		return conn, err
	}
	if info, err := os.Lstat(name); err == nil && info.Mode().Type() == os.ModeSocket {
		if c, err := net.Dial("unixgram", name); err == nil {
			return nil, errors.Join(fmt.Errorf("listen at %s: somebody else does", name), c.Close())
		}
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
}
