package status

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// What monitoring may cost, whoever asks.
const (
	publicConnections = 256
	publicFromOne     = 64 // of them, from one address
	publicPages       = 20 // documents and metrics pages a second; a probe is no page
	publicWrite       = 5 * time.Second
)

// PublicOptions say what monitoring gets to see.
type PublicOptions struct {
	Daemon     Daemon
	Metrics    http.Handler // answers /metrics; nil: there is none
	ProbesOnly bool         // nothing but the five probe paths, and no word besides the status: for a port that strangers reach
	Logger     *zap.Logger
}

// Public serves monitoring: load balancers, Prometheus, dashboards. It reads and takes no orders.
//
// /primary is 200 while this node holds the role with a lease that runs and the service address is up; /backup while it is backup and
// could take over; /ready while it could take over or is primary; /health while its SIP server serves; /live while its loop turns. Else
// they are 503 with a ProbeAnswer that says why. A yes rests on what the node knew at most 5 ms before, and never outlasts the lease.
// /v1/status, /v1/history, /v1/explain, /v1/alarms and /metrics are always 200, or 429 if more than 20 pages a second are asked for.
type Public struct {
	o     PublicOptions
	view  *view
	pages rate
}

// NewPublic checks the options.
func NewPublic(o PublicOptions) (*Public, error) {
	if o.Daemon == nil || o.Logger == nil {
		return nil, errors.New("status: a daemon and a logger are needed")
	}
	o.Logger = o.Logger.Named("monitoring")
	return &Public{o: o, view: newView(o.Daemon.Snapshot), pages: rate{n: publicPages}}, nil
}

// Run serves on a listener until ctx ends, and closes it. It returns nil when ctx ended.
func (p *Public) Run(ctx context.Context, listener net.Listener) error {
	crowd := &trickle{log: p.o.Logger, rate: rate{n: 1}}
	refused := func() { _, _ = crowd.Write([]byte("too many connections, new ones are refused")) }
	server := &http.Server{
		Handler:           p.Handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      publicWrite,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(&trickle{log: p.o.Logger, rate: rate{n: 1}}, "", 0),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(newGate(listener, publicConnections, publicFromOne, refused)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve monitoring on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close()
	}
	<-failed
	return nil
}

// Handler is Public without its listener.
func (p *Public) Handler() http.Handler {
	pages := map[string]http.Handler{}
	for path, document := range map[string]func() any{
		"/v1/status":  func() any { return p.view.look().Snapshot },
		"/v1/history": func() any { return HistoryResponse{notNull(p.o.Daemon.History())} },
		"/v1/explain": func() any { return explained(p.o.Daemon) },
		"/v1/alarms":  func() any { return AlarmsResponse{p.view.look().Alarms} },
	} {
		pages[path] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, p.o.Logger, http.StatusOK, document()) })
	}
	if p.o.Metrics != nil {
		pages["/metrics"] = p.o.Metrics
	}
	if p.o.ProbesOnly {
		clear(pages)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // nobody reads the body
		}
		page, probe := pages[r.URL.Path], probes[r.URL.Path] != nil
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			p.refuse(w, http.StatusMethodNotAllowed, "only GET, HEAD and OPTIONS are answered here", "orders go to the daemon's own socket")
		case probe:
			p.probe(w, r)
		case page == nil:
			p.refuse(w, http.StatusNotFound, "there is no such page", strings.Join(p.paths(pages), ", "))
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(http.StatusOK)
		case !p.pages.allow(time.Now()):
			w.Header().Set("Retry-After", "1")
			p.refuse(w, http.StatusTooManyRequests, fmt.Sprintf("more than %d pages a second are asked for", publicPages), "ask less often")
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// probe answers GET with a body, HEAD and OPTIONS without.
func (p *Public) probe(w http.ResponseWriter, r *http.Request) {
	answer := p.view.look().answer(r.URL.Path, time.Now())
	code := http.StatusOK
	if !answer.OK {
		code = http.StatusServiceUnavailable
	}
	if r.Method == http.MethodOptions || p.o.ProbesOnly {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(code)
		return
	}
	writeJSON(w, p.o.Logger, code, answer)
}

func (p *Public) refuse(w http.ResponseWriter, code int, message, hint string) {
	if p.o.ProbesOnly {
		w.WriteHeader(code)
		return
	}
	writeJSON(w, p.o.Logger, code, &Error{Message: message, Hint: hint})
}

func (p *Public) paths(pages map[string]http.Handler) []string {
	var paths []string
	for path := range probes {
		paths = append(paths, path)
	}
	for path := range pages {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
