package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor"
)

func explainCommand(a *app) *cobra.Command {
	var out *format
	cmd := &cobra.Command{
		Use: "explain", GroupID: groupLook, Short: "Show why the role is where it is",
		Long: `Shows what this node knows and from whom, how each fact votes, which decision is in force and what would change it. Nodes may
know different things: ask each.
With -o json: an object with the keys node, primary, epoch, decision, facts (about, from, what, says, vote), moves, holds.`,
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, origin := a.client()
			defer client.Close()
			e, err := client.Explain(cmd.Context())
			if err != nil {
				return explain(err, origin)
			}
			return a.answer(out, e, renderExplanation(e))
		},
	}
	out = outputFlag(cmd)
	return cmd
}

// renderExplanation draws the decision, the facts behind it, each with its vote, and what would change it.
func renderExplanation(e supervisor.Explanation) string {
	var b strings.Builder
	b.WriteString(printable("Decision: "+e.Decision) + "\n\n")
	b.WriteString(drawTable(func(row func(...string)) {
		row("ABOUT", "SEEN BY", "WHAT", "FINDING", "VOTE")
		for _, f := range e.Facts {
			row(dash(string(f.About)), string(f.From), f.What, f.Says, dash(string(f.Vote)))
		}
	}))
	list := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		b.WriteString("\n" + title + "\n")
		for _, l := range lines {
			b.WriteString("  - " + printable(l) + "\n")
		}
	}
	list("Would move the role:", e.Moves)
	list("Keeps it:", e.Holds)
	return b.String()
}
