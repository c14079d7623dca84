package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor"
)

func checkCommand(a *app) *cobra.Command {
	var print bool
	cmd := &cobra.Command{
		Use: "check", GroupID: groupLook, Short: "Check the configuration and say everything that is wrong with it",
		Long: `Checks the configuration file: every problem at once, with its line and key, what is wrong and what to do. If it is right,
a summary follows, with warnings about this host (a hook that is not there, a certificate that cannot be read). Exit code 0 or 1;
warnings do not change it.`,
		Args: noArgs("--config"),
		RunE: func(*cobra.Command, []string) error { return a.check(print) },
	}
	cmd.Flags().BoolVar(&print, "print", false, "print the effective configuration with all defaults, as YAML")
	return cmd
}

func (a *app) check(print bool) error {
	s, err := load(a.config, a.identity())
	var problems Problems
	if errors.As(err, &problems) {
		return &exitError{Code: exitFailed, Err: problems}
	}
	if err != nil {
		return err
	}
	if print {
		text, err := s.written.yaml()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "# %s, configuration %s\n%s", s.Path, s.Hash, text)
		return err
	}
	if err := summarize(a.stdout, s); err != nil {
		return err
	}
	for _, w := range hostWarnings(s) {
		_, _ = fmt.Fprintf(a.stdout, "warning: %s\n", w)
	}
	return nil
}

// summarize says what the configuration means, for a last look before it is used.
func summarize(w io.Writer, s *Setup) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) }
	kind := "member"
	if s.Me().Witness {
		kind = "witness"
	}
	_, _ = fmt.Fprintf(w, "ok: %s\n", s.Path)
	line("cluster", fmt.Sprintf("%s, configuration %s", s.Cluster, s.Hash))
	line("this node", fmt.Sprintf("%s, a %s (from the %s)", s.Self, kind, origins[s.SelfFrom]))
	for i, name := range s.names() {
		label := ""
		if i == 0 {
			label = "nodes"
		}
		line(append([]string{label, string(name)}, nodeCells(s.Nodes[name])...)...)
	}
	line("address", addressLine(s.ServiceAddress))
	line("SIP server", serverLine(s.SIPServer))
	t := s.Timing
	line("preset", fmt.Sprintf("%s: renew %s, suspect %s, lease %s; probe %s, hangs after %s", s.Preset, Duration(t.Renew), Duration(t.Suspect),
		Duration(t.Lease), Duration(t.ProbeInterval), Duration(t.ProbeSilence)))
	line("takeover", fmt.Sprintf("from a silent primary about %s after its last renewal%s", Duration(promise(t, supervisor.FenceNftables)), slower(s)))
	line("no majority", string(s.OnQuorumLoss))
	line("budget", fmt.Sprintf("%d automatic switchovers per %s", s.SwitchoverBudget.Count, Duration(s.SwitchoverBudget.Per)))
	return table.Flush()
}

var origins = map[string]string{"--node": "flag --node", "node:": "file", "host name": "host name"}

func nodeCells(v Voter) []string {
	switch {
	case v.Witness && v.SIPAddress.IsValid():
		return []string{v.Address.String(), "witness, asks SIP from " + v.SIPAddress.String()}
	case v.Witness:
		return []string{v.Address.String(), "witness, asks no SIP"}
	default:
		return []string{v.Address.String(), "SIP " + v.SIPAddress.String(), v.Interface}
	}
}

func addressLine(s ServiceAddress) string {
	var list []string
	for _, p := range s.Addresses {
		list = append(list, p.String())
	}
	by := "fence " + string(s.Fence)
	if s.ControlVIPScripts {
		by += ", put up by " + s.UpScript[0]
	}
	return strings.Join(list, ", ") + "  " + by
}

func serverLine(s SIPServer) string {
	at := fmt.Sprintf("port %d by %s", s.Port, s.Transport)
	if s.Process != "" {
		at += ", process " + s.Process
	}
	return at
}

func slower(s *Setup) string {
	if s.ServiceAddress.Fence == Fence(supervisor.FenceNftables) {
		return ""
	}
	return fmt.Sprintf(", %s with the lifetime fence", Duration(promise(s.Timing, supervisor.FenceLifetime)))
}

// promise is how long a takeover waits for a silent primary, in whole milliseconds.
func promise(t supervisor.Timing, f supervisor.Fence) time.Duration {
	return t.Promise(f.Guard()).Round(time.Millisecond)
}
