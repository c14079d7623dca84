package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Proposer commits entries of the alarm table.
type Proposer interface {
	// Propose returns at once and calls done exactly once, from any goroutine, when the outcome is known: nil, why the entry did not
	// apply (supervisor.ErrNoAlarm, ErrAlarmsFull, ErrAlarmRepeated, ErrAlarmEntry), or any other error if it may not have been
	// committed; then the same entry is proposed again.
	Propose(e supervisor.AlarmEntry, done func(error))
}

// Options configure an Engine. Start from DefaultOptions.
type Options struct {
	Self       supervisor.NodeID
	Nodes      []supervisor.NodeID // all voters, in any order
	Cluster    string
	Conditions []Condition // all of them: see Merge
	Reactions  []Reaction
	Default    []string      // reactions of conditions that name none
	Patience   time.Duration // after which a node reacts by itself to what can't be committed
	Proposer   Proposer
	Exec       func(context.Context, Command) Result      // runs programs; needed only with an Exec reaction
	Check      func(path string) error                    // optional; why a program will not be run
	Failed     func(reaction string, n Notice, err error) // optional; from any goroutine, must not block
	Logger     *zap.Logger
}

// DefaultOptions gives the options that have a default; Self, Nodes, Cluster and Proposer have none.
func DefaultOptions() Options {
	return Options{Conditions: Builtin(), Patience: 5 * time.Second, Logger: zap.NewNop()}
}

// Validate gives everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if o.Proposer == nil || o.Logger == nil {
		errs = append(errs, errors.New("proposer and logger must be given"))
	}
	errs = append(errs, o.ValidateConfig())
	return errors.Join(errs...)
}

// ValidateConfig is Validate for what a configuration says, without a Proposer: for a check of the configuration.
func (o Options) ValidateConfig() error {
	var errs []error
	if o.Self == "" || o.Cluster == "" || !slices.Contains(o.Nodes, o.Self) {
		errs = append(errs, fmt.Errorf("node %q and cluster %q must be given, and the node must be among %q", o.Self, o.Cluster, o.Nodes))
	}
	if o.Patience <= 0 {
		errs = append(errs, fmt.Errorf("patience %v must be positive", o.Patience))
	}
	known := map[string]bool{}
	for _, r := range o.Reactions {
		if known[r.Name] {
			errs = append(errs, fmt.Errorf("reaction %s is there twice", r.Name))
		}
		known[r.Name] = true
		errs = append(errs, r.validate(&o))
	}
	for _, name := range o.Default {
		if !known[name] {
			errs = append(errs, fmt.Errorf("default reactions: there is no reaction %q", name))
		}
	}
	errs = append(errs, validateConditions(o.Conditions, func(name string) bool { return known[name] }))
	return errors.Join(errs...)
}

// condition gives the condition of an alarm; a script may have raised one that is not configured.
func (o *Options) condition(name string) (Condition, bool) {
	for _, c := range o.Conditions {
		if c.Name == name {
			return c, true
		}
	}
	return Condition{Name: name}, false
}

// reactions names what runs for a condition at a moment of its alarm.
func (o *Options) reactions(condition string, p phase) []string {
	c, _ := o.condition(condition)
	list := c.Reactions
	if p == ends {
		list = c.Clearance
	}
	if list == nil {
		return o.Default
	}
	return list
}
