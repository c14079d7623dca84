package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// daemon answers the other commands. A lab does one thing at a time.
type daemon struct {
	down context.CancelFunc

	mu       sync.Mutex
	lab      *lab.Lab
	injected *lab.Injection
}

// serveControl listens on the control socket until it is told `down` or ctx ends.
func serveControl(ctx context.Context, l *lab.Lab) error {
	dir, err := controlDir()
	if err != nil {
		return err
	}
	if err := os.Remove(socketIn(dir)); err != nil && !os.IsNotExist(err) { // of a lab that was killed: `up` has asked it
		return fmt.Errorf("remove the old control socket: %w", err)
	}
	listener, err := net.Listen("unix", socketIn(dir))
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &daemon{lab: l, down: cancel}
	mux := http.NewServeMux()
	for verb, f := range map[string]func(context.Context, io.Writer, *http.Request) error{
		"status": d.status, "ready": d.ready, "fault": d.fault, "heal": d.heal, "exec": d.exec, "down": d.end,
	} {
		mux.HandleFunc("POST /"+verb, func(w http.ResponseWriter, r *http.Request) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if err := f(r.Context(), w, r); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		})
	}
	server := http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended <- server.Shutdown(grace) // a command that still runs loses its lab
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return errors.Join(<-ended, os.RemoveAll(dir))
}

func (d *daemon) status(ctx context.Context, w io.Writer, _ *http.Request) error {
	supervisor := "nothing"
	if s := d.lab.Supervisor(); s != nil {
		supervisor = s.Name()
	}
	primary := d.lab.Primary()
	if primary == "" {
		primary = "nobody"
	}
	fmt.Fprintf(w, "kept in service by %s\n%s answers at %s and %s\n", supervisor, primary, lab.ServiceAddress, lab.ServiceAddress6)
	if d.injected != nil {
		fmt.Fprintf(w, "fault: %s (%s), at %s\n", d.injected.Fault.Name, d.injected.Fault.Text, d.injected.Primary)
	}
	if err := d.lab.Healthy(ctx); err != nil {
		fmt.Fprintf(w, "not healthy: %v\n", err)
	} else {
		fmt.Fprintln(w, "healthy")
	}
	fmt.Fprintf(w, "logs: %s\n", d.lab.Dir())
	return nil
}

// ready answers when the pair is healthy for the first time.
func (d *daemon) ready(ctx context.Context, w io.Writer, r *http.Request) error {
	if d.lab.Supervisor() != nil {
		ctx, cancel := context.WithTimeout(ctx, lab.HealthLimit)
		defer cancel()
		if err := d.lab.WaitHealthy(ctx); err != nil {
			return err
		}
	}
	return d.status(ctx, w, r)
}

func (d *daemon) fault(ctx context.Context, w io.Writer, r *http.Request) error {
	f, err := lab.FaultByName(r.FormValue("name"))
	if err != nil {
		return err
	}
	if d.injected, err = d.lab.Inject(f); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, at %s\n", f.Text, d.injected.Primary)
	_ = http.NewResponseController(w.(http.ResponseWriter)).Flush() // late is good enough
	seen := d.lab.Watch(ctx, d.injected)
	fmt.Fprintf(w, "the client noticed an outage of %.1f ms and lost %d of %d requests; %v answered; two holders for %.0f ms\n",
		millis(seen.During.Longest), seen.During.Lost, seen.During.Asked, seen.During.Servers, millis(seen.Both))
	return nil
}

func (d *daemon) heal(ctx context.Context, w io.Writer, r *http.Request) error {
	if err := d.lab.Heal(); err != nil {
		return err
	}
	d.injected = nil
	return d.ready(ctx, w, r)
}

func (d *daemon) exec(_ context.Context, w io.Writer, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	out, err := d.lab.Run(r.FormValue("host"), r.Form["arg"]...)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

func (d *daemon) end(_ context.Context, w io.Writer, _ *http.Request) error {
	d.down()
	if err := d.lab.Close(); err != nil {
		return err
	}
	fmt.Fprintln(w, "the lab is down")
	return nil
}

func faultsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "faults", Short: "List the faults", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			for _, f := range lab.Faults() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-18s %s (expected: %s)\n", f.Name, f.Text, f.Expect)
			}
		},
	}
}
