package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// demoOptions are the flags of demo.
type demoOptions struct {
	server string
	preset string
}

func demoCommand(a *app) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", GroupID: groupLook, Short: "Try a pair out on this machine: break it, and see what that costs",
		Long: `Builds a pair of SIP servers, their witness and a phone out of network namespaces, kills the primary's SIP server, cuts its host off,
and moves the role by order. What a client notices is shown while it happens, and a table of it at the end. It takes half a minute and
leaves nothing behind.

It needs root, or user namespaces for ordinary users. The SIP servers are Kamailio if that is installed, else small embedded ones. Exit
code 1: something did not work.`,
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			inside, code, err := lab.Isolate()
			switch {
			case err != nil:
				return &hinted{Err: fmt.Errorf("demo: %w", err), Hint: demoHint()}
			case !inside && code != 0:
				return &exitError{Code: code}
			case !inside:
				return nil
			}
			return a.demo(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.server, "server", "", "kamailio or embedded (default: kamailio if it is installed)")
	cmd.Flags().StringVar(&o.preset, "preset", "default", "understudy's `preset`: default or fast")
	return cmd
}

// demoHint says what to do where namespaces can't be made.
func demoHint() string {
	if os.Geteuid() == 0 {
		return "in a container, run it privileged (docker run --privileged)"
	}
	return "run it as root (sudo bin/understudy demo), or allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), " +
		"kernel.unprivileged_userns_clone=1 (Debian), user.max_user_namespaces=10000 (others)"
}

// exitInterrupted is what shells make of SIGINT.
const exitInterrupted = 130

// demo runs inside the lab's namespaces.
func (a *app) demo(ctx context.Context, o demoOptions) error {
	options := lab.DefaultOptions()
	if o.server != "" {
		options.Server = lab.ServerKind(o.server)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	pair, err := lab.Understudy(program, o.preset)
	if err != nil {
		return err
	}
	if err := demoIntro(a.stdout, options.Server); err != nil {
		return err
	}
	l, err := lab.New(options)
	if err != nil {
		return err
	}
	err = l.Supervise(pair)
	if err == nil {
		err = newDemoShow(l, a.stdout).run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		demoLogs(a.stderr, l)
	}
	if err := errors.Join(err, l.Close()); err == nil || ctx.Err() == nil {
		return err
	}
	return &exitError{Code: exitInterrupted, Err: errors.New("demo: interrupted; nothing is left behind")}
}

const demoPicture = `
        phones            One address, %s, for everything that phones
          |               and trunks know. Whoever is primary has it.
   -------+---------
     |    |    |          a, b  members: %s and an understudy each
     a    w    b          w     witness: an understudy that only votes

All of it lives in network namespaces of its own and is gone when this ends.
`

func demoIntro(out io.Writer, server lab.ServerKind) error {
	name := "Kamailio"
	if server == lab.Embedded {
		name = "a small SIP server"
	}
	_, err := fmt.Fprintf(out, demoPicture, lab.ServiceAddress, name)
	return err
}

// demoLogs shows the end of each sidecar's log: the files vanish with the lab.
func demoLogs(out io.Writer, l *lab.Lab) {
	const enough = 12
	for _, host := range append(lab.Members(), lab.Witness) {
		text, err := os.ReadFile(filepath.Join(l.Dir(), "understudy-"+host+".log"))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		_, _ = fmt.Fprintf(out, "\nThe last lines of understudy at %s:\n%s\n", host, strings.Join(lines[max(0, len(lines)-enough):], "\n"))
	}
}
