package lab

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// The lab's own processes: this program again, in another part.
const (
	helperSIPD  = "sipd"
	helperProbe = "keepalived-probe"
)

// helperCommand runs a helper on a host. Its settings travel in the environment.
func helperCommand(helper, name string, env ...string) Command {
	args := append([]string{"/proc/self/exe"}, os.Args[1:]...)
	return Command{Name: name, Args: args, Env: append(env, stageVar+"="+helper)}
}

// runHelper is what Isolate does in a helper process.
func runHelper(name string) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch name {
	case helperSIPD:
		err = runSIPD(ctx, os.Getenv("LAB_SIPD_NAME"), os.Getenv("LAB_SIPD_LISTEN"))
	case helperProbe:
		err = runProbe(ctx)
	default:
		err = fmt.Errorf("unknown part %q in %s", name, stageVar)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
