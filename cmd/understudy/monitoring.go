package main

import (
	"context"
	"fmt"
	"net"

	"github.com/understudy-sip/understudy/supervisor/metrics"
	"github.com/understudy-sip/understudy/supervisor/status"
	"github.com/understudy-sip/understudy/traffic"
)

// serveMonitoring answers those who may look and order nothing, where the configuration says so.
func (n *node) serveMonitoring(parts *stages) error {
	at := n.setup.API.Listen
	if !at.IsValid() {
		return nil
	}
	d := &daemon{n: n}
	numbers, err := metrics.New(metrics.Options{
		Cluster: n.setup.Cluster, Node: n.setup.Self, Version: n.boot.Version, Logger: n.log,
		Source: func() metrics.Sample {
			return metrics.Sample{Snapshot: d.Snapshot(), History: d.History(), Counters: n.counters(), Contacts: n.contacts.sample()}
		},
	})
	if err != nil {
		return err
	}
	public, err := status.NewPublic(status.PublicOptions{Daemon: d, Metrics: numbers.Handler(), Logger: n.log})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		return fmt.Errorf("listen for monitoring (api.listen): %w", err)
	}
	parts.start("monitoring", func(ctx context.Context) error { return public.Run(ctx, listener) })
	return nil
}

func (n *node) counters() metrics.Counters {
	c := metrics.Counters{HooksDropped: n.hooks.Dropped()}
	if n.traffic.monitor != nil {
		s := n.traffic.monitor.Snapshot()
		c.MessagesIn, c.MessagesOut = byKind(s.In), byKind(s.Out)
	}
	return c
}

func byKind(c traffic.Counts) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range c.Requests {
		m[traffic.Methods[i]] = n
	}
	for i, n := range c.Responses {
		m[traffic.Classes[i]] = n
	}
	return m
}
