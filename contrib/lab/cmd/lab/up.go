package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// upOptions are the flags of `lab up`.
type upOptions struct {
	choice

	foreground bool
}

// upPatience is how long a lab may take to be up and healthy.
const upPatience = 90 * time.Second

func upCmd() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build the lab and leave it running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.foreground {
				return o.detach(cmd)
			}
			dir, err := makeControlDir()
			if err != nil {
				return err
			}
			if err := os.Setenv(controlVar, dir); err != nil {
				return err
			}
			if err := isolate(); err != nil {
				return err
			}
			return o.serve(cmd.Context())
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.ha, "ha", "understudy", "what keeps the pair in service: "+strings.Join(contenders, ", ")+", none")
	cmd.Flags().StringVar(&o.preset, "preset", "default", "understudy's preset")
	cmd.Flags().BoolVar(&o.foreground, "foreground", false, "stay in the foreground")
	return cmd
}

// detach starts this command again in a session of its own and waits until the lab that it runs is healthy.
func (o *upOptions) detach(cmd *cobra.Command) error {
	dir, err := makeControlDir()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), upPatience)
	defer cancel()
	if call(ctx, &strings.Builder{}, "status", nil) == nil {
		return errors.New("a lab is up already: lab down takes it down")
	}
	log, err := os.Create(logIn(dir))
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	daemon := exec.Command("/proc/self/exe", append(os.Args[1:], "--foreground")...)
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	for {
		if call(ctx, cmd.OutOrStdout(), "ready", nil) == nil {
			return nil
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the lab did not come up: %s", strings.TrimSpace(string(said)))
		case <-ctx.Done():
			_ = daemon.Process.Signal(syscall.SIGTERM)
			return fmt.Errorf("the lab did not come up in %v: see %s", upPatience, log.Name())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serve builds the lab and does what it is told until it is told to end.
func (o *upOptions) serve(ctx context.Context) error {
	l, err := lab.New(o.options())
	if err != nil {
		return err
	}
	if o.ha != "none" {
		s, err := o.supervisor(o.ha)
		if err == nil {
			err = l.Supervise(s)
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return errors.Join(serveControl(ctx, l), l.Close())
}
