package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// choice is what the flags say about the lab.
type choice struct {
	ha      string
	preset  string
	program string
	server  string
}

func (c *choice) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.program, "understudy", "bin/understudy", "path of the understudy binary")
	cmd.Flags().StringVar(&c.server, "server", "", "SIP server: kamailio or embedded (default: kamailio if installed)")
}

func (c *choice) options() lab.Options {
	o := lab.DefaultOptions()
	if c.server != "" {
		o.Server = lab.ServerKind(c.server)
	}
	return o
}

// contenders are the values of --ha, in the order of the report.
var contenders = []string{"understudy", "understudy-fast", "keepalived", "keepalived-tuned"}

// supervisor makes the one that --ha names.
func (c *choice) supervisor(ha string) (lab.Supervisor, error) {
	preset := c.preset
	if preset == "" {
		preset = "default"
	}
	switch ha {
	case "understudy":
		return c.understudy(preset)
	case "understudy-fast":
		return c.understudy("fast")
	case "keepalived":
		return lab.KeepalivedPublished(), nil
	case "keepalived-tuned":
		return lab.KeepalivedTuned(), nil
	}
	return nil, fmt.Errorf("unknown --ha %q (one of %s)", ha, strings.Join(contenders, ", "))
}

// understudy looks for the binary where the flag says, else beside this program.
func (c *choice) understudy(preset string) (lab.Supervisor, error) {
	s, err := lab.Understudy(c.program, preset)
	if err == nil {
		return s, nil
	}
	if self, selfErr := os.Executable(); selfErr == nil {
		if s, besideErr := lab.Understudy(filepath.Join(filepath.Dir(self), "understudy"), preset); besideErr == nil {
			return s, nil
		}
	}
	return nil, err
}

// supervisors makes those that a comma-separated --ha names; "all" is all of them.
func (c *choice) supervisors() ([]lab.Supervisor, error) {
	names := strings.Split(c.ha, ",")
	if c.ha == "all" {
		names = slices.Clone(contenders)
	}
	var all []lab.Supervisor
	for _, name := range names {
		s, err := c.supervisor(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// chosenFaults finds the faults of a comma-separated list; empty is all of them.
func chosenFaults(names string) ([]lab.Fault, error) {
	if names == "" {
		return lab.Faults(), nil
	}
	var all []lab.Fault
	for name := range strings.SplitSeq(names, ",") {
		f, err := lab.FaultByName(name)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
