package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

func soakCmd() *cobra.Command {
	var c choice
	var s lab.Soak
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Keep a healthy pair under processor load: nothing is broken, so nothing may move",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := isolate(); err != nil {
				return err
			}
			if s.Supervisor, err = c.supervisor(c.ha); err != nil {
				return err
			}
			l, err := lab.New(c.options())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			tell := func(r lab.SoakResult) {
				fmt.Fprintf(cmd.OutOrStdout(), "%-6v  moves %d, two holders %v, longest outage %.1f ms, %d of %d requests not answered in %v\n",
					r.Lasted.Round(time.Second), r.Moves, r.Both, millis(r.Longest), r.Lost, r.Asked, lab.AnswerLimit)
			}
			s.Progress = tell
			r, err := s.Run(cmd.Context(), l)
			tell(r)
			if err == nil && (r.Moves > 0 || r.Both > 0) {
				return errors.New("the role moved, or was held twice, with nothing broken")
			}
			return err
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&c.ha, "ha", "understudy", "what keeps the pair in service")
	cmd.Flags().DurationVar(&s.For, "for", 30*time.Minute, "how long")
	cmd.Flags().IntVar(&s.Busy, "busy", 2, "busy loops meanwhile")
	return cmd
}
