package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/raftstore/bindings"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/supervisor/registrar"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// contactsDesk tells people of the registrations, and takes their orders.
type contactsDesk struct {
	g     *registrations
	setup *Setup

	mu   sync.Mutex
	last bindings.Status // for the rate
	at   time.Duration
	rate float64
}

var _ status.ContactsDesk = (*contactsDesk)(nil)

// members are the two members, in the order of their names.
func (s *Setup) members() [2]supervisor.NodeID { return [2]supervisor.NodeID(s.names()[:2]) }

// Contacts is how the registrations are, with what the server says.
func (d *contactsDesk) Contacts(ctx context.Context) status.Contacts {
	c := d.known()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if n, err := d.g.server.Count(ctx); err == nil {
		c.OnServer = &n
	}
	return c
}

// known is how the registrations are, as far as nobody has to be asked.
func (d *contactsDesk) known() status.Contacts {
	st, now, wall := d.g.store.Status(), sinceStart(), time.Now()
	done := d.g.sync.Stats()
	when := func(moment time.Duration) *time.Time {
		if moment == 0 {
			return nil
		}
		t := wall.Add(moment - now).Round(time.Millisecond)
		return &t
	}
	members := d.setup.members()
	c := status.Contacts{
		At: wall, Node: d.setup.Self, Role: supervisor.RoleBackup, Epoch: st.Epoch, Server: d.setup.Contacts.Server,
		Records: st.Records, Contacts: st.Bindings, Connections: st.Flows, Complete: st.Whole,
		ByNode: map[supervisor.NodeID]int{members[0]: st.By[0], members[1]: st.By[1]},
		InSync: st.InSync(), Since: when(st.Since), Compared: when(st.Compared), Differing: st.Differing, Connected: st.Connected, Behind: st.Behind,
		LagMS:     status.ContactLag{Median: inMs(st.Lag.Median), P99: inMs(st.Lag.P99), Max: inMs(st.Lag.Max)},
		SentBytes: st.BytesOut, GotBytes: st.BytesIn, SendRate: d.sendRate(st, now),
		Learned: done.Learned, Told: done.Told, Failed: done.Failed, Waiting: done.Waiting, Restarts: done.Restarts, LastError: done.LastErr,
	}
	if st.Primary {
		c.Role = supervisor.RolePrimary
	}
	if st.DiskErr != nil {
		c.DiskError = st.DiskErr.Error()
	}
	return c
}

func inMs(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// sendRate is how many octets a second the stream took between the last two questions that were at least a second apart.
func (d *contactsDesk) sendRate(st bindings.Status, now time.Duration) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gap := now - d.at; gap >= time.Second {
		if d.at > 0 {
			d.rate = float64(st.BytesOut-d.last.BytesOut) / gap.Seconds()
		}
		d.last, d.at = st, now
	}
	return d.rate
}

// ContactsOf is one address of record.
func (d *contactsDesk) ContactsOf(aor string) status.ContactsOf {
	r, now := d.g.store.Get(aor), sinceStart()
	of := status.ContactsOf{AOR: aor, Version: r.Version.String(), Contacts: []status.Contact{}}
	members := d.setup.members()
	for i := range r.Bindings {
		b := &r.Bindings[i]
		c := status.Contact{
			URI: b.Contact, Expires: int(max(0, b.Expires-now) / time.Second), Received: b.Received, Path: b.Path, Socket: b.Socket,
			Instance: b.Instance, RegID: b.RegID, CallID: b.CallID, CSeq: b.CSeq, UserAgent: b.UserAgent, Connection: b.Connected(),
			Node: members[b.Changed.Author()],
		}
		if b.Q != location.NoQ {
			q := float64(b.Q) / 1000
			c.Q = &q
		}
		of.Contacts = append(of.Contacts, c)
	}
	return of
}

// diffExamples is how many addresses of record that differ are named.
const diffExamples = 20

// DiffContacts asks the server for every address of record that the table has.
func (d *contactsDesk) DiffContacts(ctx context.Context) (diff status.ContactsDiff, err error) {
	diff.Examples = []string{}
	d.g.store.Walk(func(r bindings.Record) bool {
		var now []location.Binding
		if now, err = d.g.server.Lookup(ctx, r.AOR); err != nil {
			return false
		}
		diff.Compared++
		if !location.SameSet(r.Plain(), now) {
			diff.Differing++
			if len(diff.Examples) < diffExamples {
				diff.Examples = append(diff.Examples, r.AOR)
			}
		}
		return true
	})
	if errors.Is(err, registrar.ErrCannotAsk) {
		err = &status.Error{Status: http.StatusNotImplemented, Message: err.Error()}
	}
	return diff, err
}

// PurgeContacts removes what is registered for an address of record: the primary's server first, the other follows.
func (d *contactsDesk) PurgeContacts(ctx context.Context, o status.PurgeContacts) (status.ContactsOf, error) {
	was := d.ContactsOf(o.AOR)
	if !d.g.primary.Load() {
		return was, &status.Error{Status: http.StatusConflict, Message: "this member is not the primary: its registrations follow the primary's",
			Hint: "give the order there: `understudy status` says who that is"}
	}
	err := d.g.sync.Alone(ctx, o.AOR, func() error {
		if err := d.g.server.Apply(ctx, o.AOR, nil); err != nil {
			return err
		}
		return d.g.store.Set(o.AOR, nil, bindings.Cause{})
	})
	if err == nil {
		d.g.log.Info("registrations removed by order", zap.String("aor", location.Masked(o.AOR)), zap.Int("contacts", len(was.Contacts)), zap.String("by", o.By))
	}
	return was, err
}
