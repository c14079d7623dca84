package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
)

// pkiOptions is what both verbs of pki need.
type pkiOptions struct {
	dir   string
	valid Duration
	force bool
}

func (o *pkiOptions) flags(cmd *cobra.Command, valid time.Duration) {
	cmd.Flags().StringVar(&o.dir, "dir", "pki", "`folder` of the CA and the certificates")
	o.valid = Duration(valid)
	cmd.Flags().Var(&o.valid, "valid", "how long it is valid")
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite what is there")
}

func pkiCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pki", GroupID: groupSetUp, Short: "Make the certificates with which nodes know each other",
		Long: `Makes the certificate authority of a pair and the certificates of its nodes. The CA's key (ca.key) signs new nodes: keep it off
the three hosts. Each host needs ca.crt, NAME.crt and NAME.key.`,
		Args: verbArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return noVerb(cmd) },
	}
	cmd.AddCommand(pkiInitCommand(a), pkiIssueCommand(a))
	return cmd
}

func pkiInitCommand(a *app) *cobra.Command {
	var o pkiOptions
	var cluster string
	cmd := &cobra.Command{
		Use: "init", Short: "Make the certificate authority: ca.crt and ca.key",
		Long: `Makes the certificate authority of a pair. With --force an old one is overwritten: the certificates that it signed are worth
nothing from then on.`,
		Example: "  understudy pki init --dir pki --cluster sip-edge",
		Args:    noArgs("--cluster"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cluster == "" {
				c, err := a.clusterConfig(cmd, "--cluster")
				if err != nil {
					return err
				}
				cluster = c.Cluster
			}
			ca, err := raftstore.NewCA(cluster, time.Duration(o.valid))
			if err != nil {
				return fmt.Errorf("make the CA of %s: %w", cluster, err)
			}
			if err := o.store("ca", ca); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n%s  keep it off the three hosts\nThis is the CA of %s. Next: understudy pki issue --dir %s NAME...\n",
				o.path("ca.crt"), o.path("ca.key"), cluster, o.dir)
			return err
		},
	}
	o.flags(cmd, raftstore.CAValidity)
	cmd.Flags().StringVar(&cluster, "cluster", "", "`name` of the pair (default: cluster: of the configuration)")
	return cmd
}

func pkiIssueCommand(a *app) *cobra.Command {
	var o pkiOptions
	var witness, all bool
	cmd := &cobra.Command{
		Use: "issue NAME...", Short: "Make the certificates of nodes: NAME.crt and NAME.key",
		Long: `Makes the certificates of nodes. Whether a node is a member or the witness is part of its certificate: a witness's can never
hold the role. With a configuration at hand that is looked up there; without one, --witness says it.`,
		Example: `  understudy pki issue --dir pki --all -c understudy.yaml
  understudy pki issue --dir pki edge-a edge-b
  understudy pki issue --dir pki --witness wit-1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) != all {
				return usageError(helpHint(cmd), "issue needs the names of nodes, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := a.nodesToIssue(cmd, args, witness)
			if err != nil {
				return err
			}
			return a.issue(o, nodes)
		},
	}
	o.flags(cmd, raftstore.NodeValidity)
	cmd.Flags().BoolVar(&witness, "witness", false, "it is the witness")
	cmd.Flags().BoolVar(&all, "all", false, "all nodes of the configuration")
	return cmd
}

// clusterConfig reads the configuration for what a flag could say too.
func (a *app) clusterConfig(cmd *cobra.Command, flag string) (*Setup, error) {
	s, err := load(a.config, identity{})
	if err != nil && !cmd.Flags().Changed("config") {
		if _, missing := os.Stat(a.config); errors.Is(missing, fs.ErrNotExist) {
			return nil, usageError("or name a configuration with --config", "%s is needed, there is no %s", flag, a.config)
		}
	}
	return s, err
}

// nodesToIssue finds out who is the witness: from the configuration if there is one, else from the flag.
func (a *app) nodesToIssue(cmd *cobra.Command, names []string, witness bool) ([]supervisor.Node, error) {
	s, err := a.clusterConfig(cmd, "--all")
	var usage *exitError
	if errors.As(err, &usage) && len(names) > 0 { // no configuration, and none asked for
		var nodes []supervisor.Node
		for _, name := range names {
			nodes = append(nodes, supervisor.Node{ID: supervisor.NodeID(name), Witness: witness})
		}
		return nodes, nil
	}
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return s.Voters(), nil
	}
	var nodes []supervisor.Node
	for _, name := range names {
		v, known := s.Nodes[supervisor.NodeID(name)]
		switch {
		case !known:
			return nil, &hinted{Err: fmt.Errorf("there is no node %q in %s", name, a.config), Hint: "add it there first"}
		case witness && !v.Witness:
			return nil, &hinted{Err: fmt.Errorf("%s is a member in %s", name, a.config), Hint: "leave --witness out"}
		}
		nodes = append(nodes, supervisor.Node{ID: supervisor.NodeID(name), Witness: v.Witness})
	}
	return nodes, nil
}

func (a *app) issue(o pkiOptions, nodes []supervisor.Node) error {
	ca, err := o.readCA()
	if err != nil {
		return err
	}
	for _, n := range nodes {
		pair, err := raftstore.Issue(ca, n, time.Duration(o.valid))
		if err != nil {
			return fmt.Errorf("issue a certificate for %s: %w", n.ID, err)
		}
		if err := o.store(string(n.ID), pair); err != nil {
			return err
		}
		kind := "member"
		if n.Witness {
			kind = "witness"
		}
		_, _ = fmt.Fprintf(a.stdout, "%s\n%s  for the %s %s\n", o.path(string(n.ID)+".crt"), o.path(string(n.ID)+".key"), kind, n.ID)
	}
	_, err = fmt.Fprintf(a.stdout, "Each host needs its own two files and %s, readable for the user that runs understudy.\n", o.path("ca.crt"))
	return err
}

func (o pkiOptions) path(name string) string { return filepath.Join(o.dir, name) }
