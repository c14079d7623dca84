// Understudy keeps a pair of SIP servers in service: one primary, an address that follows it, never two.
//
// This package is the command: the verbs, the configuration file and the wiring of the parts. It alone knows YAML, flags, signals and
// exit codes. What the parts promise is said in their own packages.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
