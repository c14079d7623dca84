package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// Boot is what a daemon starts with.
type Boot struct {
	Setup   *Setup
	Log     *zap.Logger
	Notify  *Notifier // of the service manager; does nothing without one
	Version string
}

// daemonFunc runs the node until orderly ends: then it hands the role over and returns nil. When now ends too, it drops the address and
// returns at once. It calls Notify.Ready as soon as it votes.
type daemonFunc func(orderly, now context.Context, boot Boot) error

func runCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "run", GroupID: groupDaemon, Short: "Run this node: member or witness, as the configuration says",
		Long: `Runs this node until SIGTERM or SIGINT, which hands the role over in good order. A second signal leaves at once. Both drop
the service address. SIGHUP is ignored: a changed configuration is read by a restart.`,
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDaemon(cmd.Context()) },
	}
}

func (a *app) runDaemon(ctx context.Context) error {
	setup, err := load(a.config, a.identity())
	var problems Problems
	if errors.As(err, &problems) {
		return &exitError{Code: exitConfig, Err: problems}
	}
	if err != nil {
		return err
	}
	log := newLogger(setup.Log, a.stderr)
	defer log.Sync() //nolint:errcheck // stderr may be a pipe that can't be synced
	notify, err := newNotifier()
	if err != nil {
		return err
	}
	defer notify.Close()
	if err := keepFromHooks(); err != nil {
		return err
	}
	now, stop := secondSignal(log)
	defer stop()
	v := buildVersion()
	log.Info("starting", zap.String("node", string(setup.Self)), zap.String("config", setup.Hash), zap.String("version", v.Version))
	for _, w := range hostWarnings(setup) {
		log.Warn("this host is not ready", zap.String("why", w))
	}
	if err := a.daemon(ctx, now, Boot{Setup: setup, Log: log, Notify: notify, Version: v.Version}); err != nil {
		log.Error("stopped", zap.Error(err))
		return fmt.Errorf("run %s: %w", setup.Self, err)
	}
	log.Info("stopped")
	return nil
}
