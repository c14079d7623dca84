package traffic

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	siplib "github.com/emiago/sipgo/sip"
)

// tracer counts what sipgo hands to its sockets and takes from them, retransmissions included.
type tracer struct{ sent, received atomic.Uint64 }

func (t *tracer) SIPTraceRead(string, string, string, []byte)  { t.received.Add(1) }
func (t *tracer) SIPTraceWrite(string, string, string, []byte) { t.sent.Add(1) }

func (t *tracer) tally() tallyOf { return tallyOf{Sent: t.sent.Load(), Received: t.received.Load()} }

func tracedAgent(name string) (*tracer, *sipgo.UserAgent, error) {
	t := &tracer{}
	siplib.SIPDebug = true
	siplib.SIPDebugTracer(t)
	siplib.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(name))
	return t, ua, err
}

// sipgoServer answers everything: transport, address.
func sipgoServer(args []string) (tallyOf, error) {
	t, ua, err := tracedAgent("server")
	if err != nil {
		return tallyOf{}, err
	}
	server, err := sipgo.NewServer(ua)
	if err != nil {
		return tallyOf{}, err
	}
	for _, method := range []siplib.RequestMethod{siplib.INVITE, siplib.BYE, siplib.OPTIONS, siplib.REGISTER, siplib.MESSAGE} {
		server.OnRequest(method, func(req *siplib.Request, tx siplib.ServerTransaction) {
			_ = tx.Respond(siplib.NewResponseFromRequest(req, 200, "OK", nil))
		})
	}
	server.OnAck(func(*siplib.Request, siplib.ServerTransaction) {})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe(ctx, args[0], args[1]) }()
	select {
	case err := <-failed:
		return tallyOf{}, err
	case <-time.After(200 * time.Millisecond): // it has no other way to say that it listens
	}
	<-ready()
	return t.tally(), nil
}

// sipgoClient sends requests of several methods, one after the other, and waits for their answers: transport, address, own host, number.
func sipgoClient(args []string) (tallyOf, error) {
	t, ua, err := tracedAgent("client")
	if err != nil {
		return tallyOf{}, err
	}
	client, err := sipgo.NewClient(ua, sipgo.WithClientHostname(args[2]))
	if err != nil {
		return tallyOf{}, err
	}
	number, _ := strconv.Atoi(args[3])
	_ = ready()
	methods := []siplib.RequestMethod{siplib.OPTIONS, siplib.REGISTER, siplib.MESSAGE}
	for i := range number {
		var uri siplib.Uri
		if err := siplib.ParseUri(fmt.Sprintf("sip:user%d@%s;transport=%s", i, args[1], args[0]), &uri); err != nil {
			return tallyOf{}, err
		}
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		res, err := client.Do(ctx, siplib.NewRequest(methods[i%len(methods)], uri))
		stop()
		if err != nil {
			return tallyOf{}, fmt.Errorf("request %d: %w", i, err)
		}
		if res.StatusCode != 200 {
			return tallyOf{}, fmt.Errorf("request %d: %d", i, res.StatusCode)
		}
	}
	return t.tally(), nil
}
