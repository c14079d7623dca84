package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

func tableCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "table REPORT",
		Short: "Print the table of a bench again, from its JSON report",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var report lab.Report
			if err := json.Unmarshal(raw, &report); err != nil {
				return fmt.Errorf("read %s: %w", args[0], err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), report.Markdown())
			return err
		},
	}
}
