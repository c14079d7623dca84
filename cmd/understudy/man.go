package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the manual pages. It is for packagers, so the help does not list it.
func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Hidden: true, Short: "Write the manual pages into a folder",
		Long: "Writes a manual page (section 8) for every verb into a folder. SOURCE_DATE_EPOCH sets their date.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(helpHint(cmd), "man needs one folder")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make the folder of the pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			for _, c := range root.Commands() {
				c.Hidden = c.Hidden || c.Name() == "completion" // it explains itself, in Markdown
			}
			header := &doc.GenManHeader{Section: "8", Source: "understudy " + buildVersion().Version, Manual: "understudy"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the pages: %w", err)
			}
			return nil
		},
	}
}
