package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// What one client may cost.
const (
	maxBody        = 4 << 10
	maxHeader      = 8 << 10
	maxConnections = 32
	readTimeout    = 2 * time.Second
	idleTimeout    = 10 * time.Second
	orderTimeout   = 20 * time.Second // an order that takes longer is answered with 504; it may still happen
	drainTimeout   = time.Second      // requests under way when the daemon stops
)

// Server is the local API.
type Server struct {
	Alarms   AlarmDesk    // takes the orders about alarms; nil: they are refused. Set before Run
	Contacts ContactsDesk // likewise those about registrations

	daemon Daemon
	log    *zap.Logger
	order  time.Duration
}

// New gives the API of a daemon.
func New(daemon Daemon, log *zap.Logger) (*Server, error) {
	if daemon == nil || log == nil {
		return nil, errors.New("status: a daemon and a logger are needed")
	}
	return &Server{daemon: daemon, log: log.Named("api"), order: orderTimeout}, nil
}

// Run serves the API on a listener from Listen until ctx ends, and closes it. It returns nil when ctx ended.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      s.order + readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withPeer,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          zap.NewStdLog(s.log),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(limit(listener, maxConnections)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the local API: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close() // the clients that are left have had their second
	}
	<-failed
	return nil
}
