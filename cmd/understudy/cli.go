package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// app is what all verbs share: where they write, the global flags, and the daemon that `run` runs.
type app struct {
	stdout, stderr io.Writer
	config         string
	configDefault  string
	socket         string
	node           string
	hostname       func() (string, error)
	zone           *time.Location // in which people read times
	daemon         daemonFunc     // nil: there is no verb run
	verbs          []func(*app) *cobra.Command
	started        bool // the verb itself has begun: what fails now is no mistake in the command line
}

const (
	defaultConfigPath = "/etc/understudy/understudy.yaml"
	groupDaemon       = "daemon"
	groupLook         = "look"
	groupAct          = "act"
	groupSetUp        = "setup"
)

// run executes one command line and gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return newApp(stdout, stderr).run(ctx, args)
}

func newApp(stdout, stderr io.Writer) *app {
	return &app{
		stdout: stdout, stderr: stderr, hostname: os.Hostname, zone: time.Local, configDefault: defaultConfigPath, daemon: runNode,
		verbs: []func(*app) *cobra.Command{
			checkCommand, statusCommand, explainCommand, historyCommand, contactsCommand, switchoverCommand, alarmCommand, pauseCommand, resumeCommand, pkiCommand,
			demoCommand, versionCommand, manCommand,
		},
	}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = asUsage(cmd, err)
	}
	return a.report(err)
}

const longHelp = `understudy keeps a pair of SIP servers in service. One sidecar runs beside each server, a witness votes; together they
decide which server is primary, and the service address follows it.

Exit codes: 0 done, or good. 1 refused or failed; status: degraded; check: problems. 2 status: no primary. 3 the daemon on this host
does not answer. 64 a mistake in the command line. 78 run: a mistake in the configuration. So understudy status is a check for Nagios
and Icinga as it is.`

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "understudy",
		Short:         "Keeps a pair of SIP servers in service",
		Long:          longHelp,
		Args:          verbArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return noVerb(cmd) },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.config, "config", "c", a.configDefault, "configuration `file`")
	flags.StringVar(&a.socket, "socket", "", "`socket` of the daemon (default: api.socket of the configuration)")
	flags.StringVar(&a.node, "node", "", "`name` of this node (default: node: of the configuration, then the host name)")
	root.AddGroup(&cobra.Group{ID: groupDaemon, Title: "Daemon:"}, &cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupAct, Title: "Act:"}, &cobra.Group{ID: groupSetUp, Title: "Set up:"})
	root.SetHelpCommandGroupID(groupSetUp)
	root.SetCompletionCommandGroupID(groupSetUp)
	if a.daemon != nil {
		root.AddCommand(runCommand(a))
	}
	for _, verb := range a.verbs {
		root.AddCommand(verb(a))
	}
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	strictBuiltins(root)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	a.finish(root)
	return root
}

// finish makes every verb say that it has begun, and its help fit a terminal.
func (a *app) finish(cmd *cobra.Command) {
	if cmd.Name() != "completion" && (!cmd.HasParent() || cmd.Parent().Name() != "completion") {
		cmd.Long = wrap(cmd.Long, 78)
	}
	if inner := cmd.RunE; inner != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return inner(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		a.finish(c)
	}
}

func (a *app) identity() identity { return identity{flag: a.node, hostname: a.hostname} }
