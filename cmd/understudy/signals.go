package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.uber.org/zap"
)

// secondSignal gives a context that ends with the second SIGTERM or SIGINT; main takes the first. SIGHUP does nothing but a line in
// the log: that a terminal was closed, or that somebody hopes for a reload, shall not end a daemon that holds an address.
func secondSignal(log *zap.Logger) (context.Context, context.CancelFunc) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	quit := make(chan struct{})
	done.Go(func() { countSignals(signals, quit, cancel, log) })
	return ctx, func() {
		signal.Stop(signals)
		close(quit)
		done.Wait()
		cancel()
	}
}

func countSignals(signals <-chan os.Signal, quit <-chan struct{}, second func(), log *zap.Logger) {
	for seen := 0; ; {
		select {
		case <-quit:
			return
		case s := <-signals:
			if s == syscall.SIGHUP {
				log.Info("hangup ignored, restart to read the configuration")
				continue
			}
			if seen++; seen == 2 {
				log.Warn("second signal, leaving now")
				second()
			}
		}
	}
}
