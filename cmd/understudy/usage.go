package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake in the command line, with what may have been meant.
func usageError(hint, format string, args ...any) error {
	return &exitError{Code: exitUsage, Err: &hinted{Err: fmt.Errorf(format, args...), Hint: hint}}
}

func helpHint(cmd *cobra.Command) string {
	return fmt.Sprintf("`%s --help` tells what there is", cmd.CommandPath())
}

// asUsage takes what cobra found wrong with a command line, before the verb began, for what it is.
func asUsage(cmd *cobra.Command, err error) error {
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	return usageError(helpHint(cmd), "%w", err)
}

// noVerb answers a command that does nothing by itself.
func noVerb(cmd *cobra.Command) error {
	return usageError(helpHint(cmd), "which verb? %s", strings.Join(verbsOf(cmd), ", "))
}

func verbsOf(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" {
			names = append(names, c.Name())
		}
	}
	return names
}

// synonyms are the words of other programs for our verbs.
var synonyms = map[string]string{
	"failover": "switchover", "promote": "switchover", "takeover": "switchover", "switch": "switchover", "move": "switchover",
	"start": "run", "daemon": "run", "serve": "run", "witness": "run", "validate": "check", "configtest": "check", "test": "check",
	"show": "status", "list": "status", "state": "status", "events": "history", "log": "history", "freeze": "pause", "unpause": "resume",
	"new": "init", "create": "init", "ca": "init", "sign": "issue",
}

// verbArgs refuses a word that is no verb of a command, and names the nearest one.
func verbArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	verbs := verbsOf(cmd)
	near, ok := synonyms[args[0]]
	if !ok || !slices.Contains(verbs, near) {
		near, ok = nearest(args[0], verbs)
	}
	if ok {
		return usageError(fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near), "there is no verb %q", args[0])
	}
	return usageError("the verbs are "+strings.Join(verbs, ", "), "there is no verb %q", args[0])
}

// noArgs refuses arguments; flag names the flag by which such a thing is said, if there is one.
func noArgs(flag string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := helpHint(cmd)
		if flag != "" {
			hint = fmt.Sprintf("did you mean `%s %s %s`?", cmd.CommandPath(), flag, args[0])
		}
		return usageError(hint, "%s takes no argument like %q", cmd.Name(), args[0])
	}
}

// oneArg wants exactly one argument, which what names.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usageError(helpHint(cmd), "%s needs %s", cmd.CommandPath(), what)
		case len(args) > 1:
			return usageError(helpHint(cmd), "%s takes one %s; %q is too much", cmd.CommandPath(), what, args[1])
		}
		return nil
	}
}

// flagError names the flag that somebody may have meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError(helpHint(cmd), "%w", err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near, ok := nearest(unknown.GetSpecifiedName(), names); ok && len(unknown.GetSpecifiedName()) > 1 {
		return usageError(fmt.Sprintf("did you mean --%s?", near), "%w", err)
	}
	return usageError(helpHint(cmd), "%w", err)
}

// strictBuiltins makes cobra's own verbs refuse what they would only shrug at.
func strictBuiltins(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = verbArgs
			c.RunE = func(cmd *cobra.Command, _ []string) error { return noVerb(cmd) }
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				if topic.HasSubCommands() {
					return verbArgs(topic, rest)
				}
				return nil
			}
		}
	}
}

// wrap breaks the paragraphs of a help text at width columns.
func wrap(text string, width int) string {
	var out []string
	for _, paragraph := range strings.Split(text, "\n\n") {
		line := ""
		var lines []string
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len(line)+1+len(word) > width {
				lines, line = append(lines, line), ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		out = append(out, strings.Join(append(lines, line), "\n"))
	}
	return strings.Join(out, "\n\n")
}

// format is the value of -o: one of a few words.
type format struct {
	value string
	words []string
}

func (f *format) String() string { return f.value }
func (f *format) Type() string   { return strings.Join(f.words, "|") }

func (f *format) Set(s string) error {
	for _, w := range f.words {
		if s == w {
			f.value = s
			return nil
		}
	}
	return fmt.Errorf("choose one of %s", strings.Join(f.words, ", "))
}

// outputFlag adds -o to a verb.
func outputFlag(cmd *cobra.Command) *format {
	f := &format{value: "table", words: []string{"table", "json"}}
	cmd.Flags().VarP(f, "output", "o", "for people, or with stable keys for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(f.words, cobra.ShellCompDirectiveNoFileComp))
	return f
}
