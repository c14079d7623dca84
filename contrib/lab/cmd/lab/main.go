// Command lab builds the lab of package lab, breaks it and measures it. See `lab help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	var code exit
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "lab",
		Short:         "A pair of SIP servers in network namespaces, to break and to measure",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(upCmd(), statusCmd(), faultsCmd(), faultCmd(), healCmd(), execCmd(), downCmd(), benchCmd(), tableCmd(), soakCmd())
	return cmd
}

// exit is the exit code of the program that ran inside.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// isolate returns nil inside the lab's namespaces, and elsewhere what the caller has to return.
func isolate() error {
	inside, code, err := lab.Isolate()
	switch {
	case inside:
		return nil
	case err != nil:
		return err
	}
	return exit(code)
}
