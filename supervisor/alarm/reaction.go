package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Where says which nodes run a reaction.
type Where string

// The places. The zero value is OnPrimary.
const (
	OnPrimary Where = "primary" // the primary; while there is none, the node that raised the alarm
	OnEvery   Where = "every"   // every node for itself
	OnRaising Where = "raising" // the node that raised the alarm
)

// Reaction is one way to tell somebody of alarms. Exactly one of its kinds is set.
type Reaction struct {
	Name  string // as conditions name it
	Where Where
	Limit time.Duration // of one try; 0: DefaultLimit

	Exec         *Exec
	Webhook      *Webhook
	Alertmanager *Alertmanager
	Syslog       *Syslog
	Journal      *Journal
	SNMP         *SNMP
}

// DefaultLimit is the time limit of one try of a reaction that names none.
const DefaultLimit = 10 * time.Second

const maxLimit = 10 * time.Minute

// sender tells one notice, once. An error that wraps errPermanent is not worth another try.
type sender interface {
	send(ctx context.Context, n Notice) error
}

var errPermanent = errors.New("another try would be of no use")

func permanent(err error) error { return fmt.Errorf("%w (%w)", err, errPermanent) }

// kind is one kind of reaction as it was configured.
type kind interface {
	validate(o *Options) error
}

func (r Reaction) kinds() []kind {
	var list []kind
	if r.Exec != nil {
		list = append(list, r.Exec)
	}
	if r.Webhook != nil {
		list = append(list, r.Webhook)
	}
	if r.Alertmanager != nil {
		list = append(list, r.Alertmanager)
	}
	if r.Syslog != nil {
		list = append(list, r.Syslog)
	}
	if r.Journal != nil {
		list = append(list, r.Journal)
	}
	if r.SNMP != nil {
		list = append(list, r.SNMP)
	}
	return list
}

func (r Reaction) validate(o *Options) error {
	var errs []error
	refuse := func(err error) { errs = append(errs, fmt.Errorf("reaction %s: %w", r.Name, err)) }
	if !supervisor.AlarmName(r.Name) {
		refuse(fmt.Errorf("name %q: use 1 to %d of a-z, 0-9 and -", r.Name, supervisor.AlarmNameLimit))
	}
	if !slices.Contains([]Where{"", OnPrimary, OnEvery, OnRaising}, r.Where) {
		refuse(fmt.Errorf("where %q: use primary, every or raising", r.Where))
	}
	if r.Limit < 0 || r.Limit > maxLimit {
		refuse(fmt.Errorf("limit %v: use up to %v", r.Limit, maxLimit))
	}
	kinds := r.kinds()
	if len(kinds) != 1 {
		refuse(fmt.Errorf("%d kinds are set: set exactly one of exec, webhook, alertmanager, syslog, journal, snmp", len(kinds)))
	}
	for _, k := range kinds {
		if err := k.validate(o); err != nil {
			refuse(err)
		}
	}
	return errors.Join(errs...)
}

// build makes what carries the reaction out: a lane for notices, or a push of states.
func (r Reaction) build(e *Engine) outlet {
	if r.Limit == 0 {
		r.Limit = DefaultLimit
	}
	if r.Where == "" {
		r.Where = OnPrimary
	}
	l := &lane{name: r.Name, limit: r.Limit, log: e.o.Logger, failed: e.o.Failed, active: e.isActive, wake: make(chan struct{}, 1)}
	switch {
	case r.Alertmanager != nil:
		return newPush(r, e.o)
	case r.Exec != nil:
		l.sender = &execSender{x: *r.Exec, run: e.o.Exec, limit: r.Limit}
		return l
	case r.Webhook != nil:
		l.sender, l.insist = newWebhookSender(*r.Webhook), true
	case r.Syslog != nil:
		l.sender, l.tries = newSyslogSender(*r.Syslog, e.o), 3
	case r.Journal != nil:
		l.sender, l.tries = &journalSender{path: r.Journal.path()}, 3
	default:
		l.sender, l.tries = newTrapSender(*r.SNMP, e.o), 3
	}
	return l
}

// outlet is a reaction at work. None of its methods waits.
type outlet interface {
	run(ctx context.Context)
	// tell passes a notice on; done is called once, when it was tried or given up.
	tell(n Notice, done func())
	// states says which alarms are active now and which have ended lately, of those that it shall tell of.
	states(active, cleared []supervisor.Alarm)
}
