package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
	"github.com/understudy-sip/understudy/supervisor/status"
)

func alarmCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "alarm", GroupID: groupAct, Short: "Show, raise, acknowledge and clear alarms",
		Long: `The alarms of the pair: one table, the same on every node. Scripts may raise and clear alarms of their own: exit code 0 means done, 1
refused, 3 that no daemon answers.`,
		Args: verbArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return noVerb(cmd) },
	}
	cmd.AddCommand(alarmListCommand(a), alarmConditionsCommand(a), alarmRaiseCommand(a), alarmClearCommand(a), alarmAckCommand(a))
	return cmd
}

func alarmListCommand(a *app) *cobra.Command {
	var out *format
	var ended bool
	cmd := &cobra.Command{
		Use: "list", Short: "Show the active alarms, the gravest first",
		Long: fmt.Sprintf(`Shows the active alarms, the gravest first, or with --ended the last %d that have ended, the newest end first.
With -o json: an array of objects with the keys id, condition, object, severity, event_id, text, evidence, node, first, last, count,
acked_by, pending, and of those that have ended: ended (at, by, how, note).`, supervisor.AlarmsCleared),
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, origin := a.client()
			defer client.Close()
			ask, render := client.Alarms, renderAlarms
			if ended {
				ask, render = client.EndedAlarms, renderEndedAlarms
			}
			alarms, err := ask(cmd.Context())
			if err != nil {
				return explain(err, origin)
			}
			return a.answer(out, alarms, render(alarms, a.zone))
		},
	}
	cmd.Flags().BoolVar(&ended, "ended", false, "show those that have ended instead")
	out = outputFlag(cmd)
	return cmd
}

func renderEndedAlarms(alarms []status.Alarm, zone *time.Location) string {
	if len(alarms) == 0 {
		return "No alarm has ended yet.\n"
	}
	return drawTable(func(row func(...string)) {
		row("ENDED", "HOW", "BY", "SEVERITY", "CONDITION", "OBJECT", "SINCE", "COUNT", "TEXT")
		for _, l := range alarms {
			row(l.Ended.At.In(zone).Format(timeLayout), string(l.Ended.How), l.Ended.By, string(l.Severity), l.Condition, l.Object,
				l.First.In(zone).Format(timeLayout), fmt.Sprint(l.Count), l.Text)
		}
	})
}

func renderAlarms(alarms []status.Alarm, zone *time.Location) string {
	if len(alarms) == 0 {
		return "No active alarm.\n"
	}
	return drawTable(func(row func(...string)) {
		row("SEVERITY", "CONDITION", "OBJECT", "SINCE", "COUNT", "BY", "ACK", "TEXT")
		for _, l := range alarms {
			ack := dash(l.AckedBy)
			if l.Pending {
				ack = "pending"
			}
			row(string(l.Severity), l.Condition, l.Object, l.First.In(zone).Format(timeLayout), fmt.Sprint(l.Count), string(l.Node), ack, l.Text)
		}
	})
}

func alarmConditionsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "conditions", Short: "Show the alarm conditions that the configuration gives",
		Long: "Shows every alarm condition: what raises it, what ends it, and its reactions. It asks no daemon.",
		Args: noArgs(""),
		RunE: func(*cobra.Command, []string) error {
			s, err := load(a.config, a.identity())
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.stdout, renderConditions(s.alarmOptions(s.Self)))
			return err
		},
	}
}

func renderConditions(o alarm.Options) string {
	return drawTable(func(row func(...string)) {
		row("CONDITION", "SEVERITY", "RAISED BY", "ENDED BY", "REACTIONS", "MEANS")
		for _, c := range o.Conditions {
			ends := dash(c.Cancel)
			if c.CancelAfter > 0 {
				ends = strings.TrimPrefix(fmt.Sprintf("%s, %s", c.Cancel, Duration(c.CancelAfter)), ", ")
			}
			reactions := c.Reactions
			if reactions == nil {
				reactions = o.Default
			}
			what := string(c.Severity)
			if !c.Enabled {
				what = "off"
			}
			row(c.Name, what, c.Detect, ends, dash(strings.Join(reactions, ", ")), c.Text)
		}
	})
}

func alarmRaiseCommand(a *app) *cobra.Command {
	var r status.RaiseAlarmRequest
	var severity string
	cmd := &cobra.Command{
		Use: "raise CONDITION", Short: "Raise an alarm, or count one more detection",
		Long: `Raises the alarm of a condition on an object. A condition that the configuration does not know needs --severity; the default
reactions run for it.`,
		Args: oneArg("CONDITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, origin := a.client()
			defer client.Close()
			r.Condition, r.Severity, r.By = args[0], supervisor.Severity(severity), claimedUser()
			done, err := client.RaiseAlarm(cmd.Context(), r)
			if err != nil {
				return explain(err, origin)
			}
			_, err = fmt.Fprintf(a.stdout, "Raised %s on %s.\n", done.Condition, done.Object)
			return err
		},
	}
	cmd.Flags().StringVar(&r.Object, "object", "", "the `OBJECT` that it is about: a node, a device, an address (default: this node)")
	cmd.Flags().StringVar(&severity, "severity", "", "critical, major, minor, warning or indeterminate (default: the condition's)")
	cmd.Flags().StringVar(&r.Text, "text", "", "one sentence for people (default: the condition's)")
	return cmd
}

func alarmClearCommand(a *app) *cobra.Command {
	return alarmOrderCommand(a, "clear", "End an active alarm by hand", "Cleared",
		func(c *status.Client) alarmOrder { return c.ClearAlarm })
}

func alarmAckCommand(a *app) *cobra.Command {
	return alarmOrderCommand(a, "ack", "Say that somebody takes care of an active alarm", "Acknowledged",
		func(c *status.Client) alarmOrder { return c.AckAlarm })
}

type alarmOrder = func(context.Context, status.AlarmOrderRequest) (status.AlarmOrderResponse, error)

// alarmOrderCommand is a verb about one active alarm.
func alarmOrderCommand(a *app, verb, short, done string, of func(*status.Client) alarmOrder) *cobra.Command {
	var r status.AlarmOrderRequest
	cmd := &cobra.Command{
		Use: verb + " CONDITION", Short: short, Args: oneArg("CONDITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, origin := a.client()
			defer client.Close()
			r.Condition, r.By = args[0], claimedUser()
			answer, err := of(client)(cmd.Context(), r)
			if err != nil {
				return explain(err, origin)
			}
			_, err = fmt.Fprintf(a.stdout, "%s %s on %s.\n", done, answer.Condition, answer.Object)
			return err
		},
	}
	cmd.Flags().StringVar(&r.Object, "object", "", "the `OBJECT` that it is about, as the list shows it (default: this node)")
	cmd.Flags().StringVar(&r.Note, "note", "", "a word for those who come after")
	return cmd
}
