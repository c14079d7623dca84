package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

func switchoverCommand(a *app) *cobra.Command {
	var to string
	var request status.SwitchoverRequest
	cmd := &cobra.Command{
		Use: "switchover", GroupID: groupAct, Short: "Make the other member primary, in good order",
		Long: `Moves the role to the other member, or to the one that --to names: the primary drops the address, the epoch grows by one, the
other takes the address. It is refused, with the reason, if that member could not serve. It needs no budget and works during a pause.
With --dry-run nothing changes: it says what would happen, or why it would be refused.`,
		Example: `  understudy switchover --reason "kernel update on edge-a"
  understudy switchover --to edge-b --dry-run`,
		Args: noArgs("--to"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			request.To, request.By = supervisor.NodeID(to), claimedUser()
			client, origin := a.client()
			defer client.Close()
			response, err := client.Switchover(cmd.Context(), request)
			if err != nil {
				return explain(err, origin)
			}
			return a.tellSwitchover(response)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the `member` that becomes primary (default: the other one)")
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, in a `text` for the history")
	cmd.Flags().BoolVar(&request.DryRun, "dry-run", false, "only say what would happen")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeMembers)
	return cmd
}

func (a *app) tellSwitchover(r status.SwitchoverResponse) error {
	if !r.DryRun {
		_, err := fmt.Fprintf(a.stdout, "%s is primary (epoch %d), %.1f ms after the order.\n", r.To, r.Epoch, r.TookMS)
		return err
	}
	_, _ = fmt.Fprintf(a.stdout, "%s can take over. What would happen:\n", r.To)
	for i, step := range r.Steps {
		_, _ = fmt.Fprintf(a.stdout, "  %d. %s\n", i+1, printable(step))
	}
	_, err := fmt.Fprintln(a.stdout, "Nothing was changed.")
	return err
}
