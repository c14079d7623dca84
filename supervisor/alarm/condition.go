package alarm

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Condition says when there is an alarm and what then happens.
type Condition struct {
	Name        string // of the alarm: a-z, 0-9 and -
	Severity    supervisor.Severity
	Text        string        // what it means, for alarms whose event says nothing itself
	Detect      string        // the event that raises it: name or number ("nic-down", "00-52027")
	Cancel      string        // the event that ends it; empty: none does
	CancelAfter time.Duration // ends it by itself, counted from the first detection; 0: never
	Reactions   []string      // run when it is raised; nil: the default ones
	Clearance   []string      // run when it ends; nil: the default ones
	Enabled     bool
}

// maxCancel bounds CancelAfter: an alarm that ends by itself after a year has been forgotten.
const maxCancel = 366 * 24 * time.Hour

// Merge gives the built-in conditions with the operator's: one of the same name takes the built-in one's place.
func Merge(own []Condition) []Condition {
	all := Builtin()
	replaced := map[string]bool{}
	for _, c := range own {
		i := slices.IndexFunc(all, func(b Condition) bool { return b.Name == c.Name })
		if i >= 0 && !replaced[c.Name] {
			all[i] = c
		} else {
			all = append(all, c) // if it is there twice, New says so
		}
		replaced[c.Name] = true
	}
	return all
}

// validate gives everything that is wrong with a condition.
func (c Condition) validate(known func(reaction string) bool) error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("condition %s: %w", c.Name, fmt.Errorf(format, args...)))
	}
	if !supervisor.AlarmName(c.Name) {
		refuse("name %q: use 1 to %d of a-z, 0-9 and -", c.Name, supervisor.AlarmNameLimit)
	}
	if c.Severity.Rank() <= 0 {
		refuse("severity %q: use critical, major, minor, warning or indeterminate", c.Severity)
	}
	if len(c.Text) > supervisor.AlarmTextLimit {
		refuse("text: %d octets are more than %d", len(c.Text), supervisor.AlarmTextLimit)
	}
	if !eventWord(c.Detect) {
		refuse("detect %q: name the event that raises it, or its number", c.Detect)
	}
	if c.Cancel != "" && !eventWord(c.Cancel) {
		refuse("cancel %q is no event's name or number", c.Cancel)
	}
	if c.Cancel != "" && c.Cancel == c.Detect {
		refuse("detect and cancel are the same event, %q", c.Cancel)
	}
	if c.CancelAfter < 0 || c.CancelAfter > maxCancel {
		refuse("cancel-after %v: use 0 (never) to %v", c.CancelAfter, maxCancel)
	}
	for _, name := range slices.Concat(c.Reactions, c.Clearance) {
		if !known(name) {
			refuse("there is no reaction %q", name)
		}
	}
	return errors.Join(errs...)
}

// validateConditions gives everything that is wrong with a list of them.
func validateConditions(list []Condition, known func(reaction string) bool) error {
	var errs []error
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.Name] {
			errs = append(errs, fmt.Errorf("condition %s is there twice", c.Name))
		}
		seen[c.Name] = true
		errs = append(errs, c.validate(known))
	}
	return errors.Join(errs...)
}

// fires reports whether an event raises an alarm, and ends whether it ends one.
func (c Condition) fires(ev Event) bool { return ev.is(c.Detect) }
func (c Condition) ends(ev Event) bool  { return ev.is(c.Cancel) }
