package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor/status"
)

func contactsCommand(a *app) *cobra.Command {
	var aor string
	var diff bool
	var out *format
	cmd := &cobra.Command{
		Use: "contacts", GroupID: groupLook, Short: "Show the registrations and whether both members have the same",
		Long: `Shows how many Contacts are registered, through which member's server, whether both members have the same and how far one is
behind the other. With --aor: the Contacts of one address of record. With --diff: this member's table beside its SIP server, which is
asked for every address of record.

Exit code 0: both members have the same; with --diff: the server has what the table has. 1: they have not, or nobody knows.`,
		Args: noArgs("--aor"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, origin := a.client()
			defer client.Close()
			switch {
			case aor != "" && diff:
				return usageError("give one of them", "--aor and --diff ask for different things")
			case aor != "":
				of, err := client.ContactsOf(cmd.Context(), aor)
				if err != nil {
					return explain(err, origin)
				}
				return a.answer(out, of, renderContactsOf(of))
			case diff:
				d, err := client.DiffContacts(cmd.Context())
				if err != nil {
					return explain(err, origin)
				}
				return worse(a.answer(out, d, renderContactsDiff(d)), d.Differing > 0)
			}
			c, err := client.Contacts(cmd.Context())
			if err != nil {
				return explain(err, origin)
			}
			return worse(a.answer(out, c, renderContacts(c, a.zone)), !c.InSync)
		},
	}
	cmd.Flags().StringVar(&aor, "aor", "", "show the Contacts of an `ADDRESS` of record, as user@host")
	cmd.Flags().BoolVar(&diff, "diff", false, "compare this member's table with its SIP server")
	out = outputFlag(cmd)
	cmd.AddCommand(contactsPurgeCommand(a))
	return cmd
}

// worse is the exit code 1 for what was shown, if it is not as it should be.
func worse(err error, bad bool) error {
	if err == nil && bad {
		return &exitError{Code: exitFailed}
	}
	return err
}

func renderContacts(c status.Contacts, zone *time.Location) string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		_, _ = fmt.Fprintf(&b, "%-12s "+format+"\n", append([]any{key}, args...)...)
	}
	since := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return fmt.Sprintf(", since %s", t.In(zone).Format(timeLayout))
	}
	line("Node", "%s, %s of epoch %d, server %s", c.Node, c.Role, c.Epoch, c.Server)
	var by []string
	for node, n := range c.ByNode {
		by = append(by, fmt.Sprintf("%d through %s", n, node))
	}
	slices.Sort(by)
	line("Contacts", "%d, of %d addresses of record; %s", c.Contacts, c.Records, strings.Join(by, ", "))
	line("Connections", "%d of them live as long as a connection: these phones connect again after a switchover", c.Connections)
	if c.OnServer != nil {
		line("Server", "says it has %d Contacts", *c.OnServer)
	}
	switch {
	case !c.Connected:
		line("In sync", "unknown: no stream to the other member")
	case c.Compared == nil:
		line("In sync", "not compared yet")
	case c.InSync:
		line("In sync", "yes%s; compared %s ago", since(c.Since), c.At.Sub(*c.Compared).Round(100*time.Millisecond))
	default:
		line("In sync", "no%s: %d of 1024 buckets differ and are repaired", since(c.Since), len(c.Differing))
	}
	line("Lag", "median %.1f, 99 %% %.1f, longest %.1f ms; %d changes not acknowledged", c.LagMS.Median, c.LagMS.P99, c.LagMS.Max, c.Behind)
	line("Stream", "%d octets sent, %d received, %.0f a second", c.SentBytes, c.GotBytes, c.SendRate)
	line("Done", "%d changes learned, %d told to the server, %d attempts failed, %d waiting, %d restarts of the server", c.Learned, c.Told, c.Failed, c.Waiting, c.Restarts)
	if !c.Complete {
		line("Incomplete", "what this node lost the other member may still have; it is asked when they meet")
	}
	if c.LastError != "" {
		line("Last error", "%s", printable(c.LastError))
	}
	if c.DiskError != "" {
		line("Disk", "%s", printable(c.DiskError))
	}
	return b.String()
}

func renderContactsOf(of status.ContactsOf) string {
	if len(of.Contacts) == 0 {
		return printable(of.AOR) + " is not registered.\n"
	}
	return drawTable(func(row func(...string)) {
		row("CONTACT", "EXPIRES", "Q", "THROUGH", "RECEIVED", "PATH", "CSEQ", "USER AGENT")
		for _, c := range of.Contacts {
			q := "-"
			if c.Q != nil {
				q = fmt.Sprint(*c.Q)
			}
			row(c.URI, fmt.Sprintf("%ds", c.Expires), q, string(c.Node), dash(c.Received), dash(c.Path), fmt.Sprint(c.CSeq), dash(c.UserAgent))
		}
	})
}

func renderContactsDiff(d status.ContactsDiff) string {
	if d.Differing == 0 {
		return fmt.Sprintf("The server has the same as the table: %d addresses of record.\n", d.Compared)
	}
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%d of %d addresses of record differ between the table and the server:\n", d.Differing, d.Compared)
	for _, aor := range d.Examples {
		b.WriteString("  " + printable(aor) + "\n")
	}
	if d.Differing > len(d.Examples) {
		_, _ = fmt.Fprintf(&b, "  and %d more\n", d.Differing-len(d.Examples))
	}
	return b.String()
}

func contactsPurgeCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "purge AOR", Short: "Remove all Contacts of an address of record from both servers",
		Long: `Removes all Contacts of an address of record from both members' servers. A phone that is still there registers again at its next refresh.
Without --yes it shows what would go. Give the order at the primary.`,
		Args: oneArg("AOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, origin := a.client()
			defer client.Close()
			if !yes {
				of, err := client.ContactsOf(cmd.Context(), args[0])
				if err != nil {
					return explain(err, origin)
				}
				_, err = fmt.Fprint(a.stdout, renderContactsOf(of)+"Nothing was changed: confirm with --yes.\n")
				return err
			}
			was, err := client.PurgeContacts(cmd.Context(), status.PurgeContactsRequest{AOR: args[0], By: claimedUser()})
			if err != nil {
				return explain(err, origin)
			}
			_, err = fmt.Fprintf(a.stdout, "Removed %d Contacts of %s.\n", len(was.Contacts), printable(was.AOR))
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
