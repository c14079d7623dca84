package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor"
)

func historyCommand(a *app) *cobra.Command {
	var n int
	var out *format
	cmd := &cobra.Command{
		Use: "history", GroupID: groupLook, Short: "Show past switchovers, the newest first",
		Long: fmt.Sprintf(`Shows past switchovers with what caused them and who asked, the newest first. The pair keeps the last %d.
With -o json: an array of objects with the keys epoch, at, from, to, trigger, reason, by.`, supervisor.HistoryLimit),
		Args: noArgs("-n"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 1 {
				return usageError("give a number from 1 on", "-n %d shows nothing", n)
			}
			client, origin := a.client()
			defer client.Close()
			history, err := client.History(cmd.Context())
			if err != nil {
				return explain(err, origin)
			}
			history = newest(history, n)
			return a.answer(out, history, renderHistory(history, a.zone))
		},
	}
	cmd.Flags().IntVarP(&n, "number", "n", 20, "show the last `N`")
	out = outputFlag(cmd)
	return cmd
}
