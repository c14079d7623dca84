package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor/status"
)

func pauseCommand(a *app) *cobra.Command {
	var length Duration
	var reason string
	cmd := &cobra.Command{
		Use: "pause", GroupID: groupAct, Short: "Hold automatic switchovers back, for a time",
		Long: `Holds automatic switchovers back for a time, on the whole pair: a dead primary is not replaced then, either. A planned
switchover works all the same. The status is degraded while a pause lasts.`,
		Example: `  understudy pause --for 2h --reason "switch replacement in rack 4"`,
		Args:    noArgs("--for"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case time.Duration(length) < status.MinPause || time.Duration(length) > status.MaxPause:
				return usageError("a pause lasts from 1m to 168h", "--for %s is out of range", length)
			case reason == "":
				return usageError("whoever reads the status at 03:00 wants to know why", "--reason is empty")
			}
			client, origin := a.client()
			defer client.Close()
			pause, err := client.Pause(cmd.Context(), status.PauseRequest{For: length.String(), Reason: reason, By: claimedUser()})
			if err != nil {
				return explain(err, origin)
			}
			_, err = fmt.Fprintf(a.stdout, "Paused until %s. A dead primary is not replaced until then, or until `understudy resume`.\n",
				pause.Until.In(a.zone).Format(zoneLayout))
			return err
		},
	}
	cmd.Flags().Var(&length, "for", "how long: 45m, 2h")
	cmd.Flags().Lookup("for").DefValue = "" // it has none
	cmd.Flags().StringVar(&reason, "reason", "", "why, in a `text` for whoever looks at the status")
	_ = cmd.MarkFlagRequired("for")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func resumeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "resume", GroupID: groupAct, Short: "End a pause",
		Long: "Ends a pause: automatic switchovers happen again, at once if one is due. Without a pause it changes nothing.",
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, origin := a.client()
			defer client.Close()
			response, err := client.Resume(cmd.Context(), status.ResumeRequest{By: claimedUser()})
			if err != nil {
				return explain(err, origin)
			}
			text := "Automatic switchovers are on again."
			if !response.WasPaused {
				text = "There was no pause; automatic switchovers are on."
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	}
}
