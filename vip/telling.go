package vip

import (
	"fmt"
	"net/netip"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// conclude does what the sentry says.
func (w *watch) conclude(all []verdict) {
	for _, v := range all {
		wrong := w.ledger.wrong(w.sentry.wanted)
		switch v {
		case orderRepair:
			w.o.Effector.Repair()
		case tellFailure:
			f := Finding{Kind: KindMissing, Event: eventFailure, Text: fmt.Sprintf("%s not on %s although this node is to hold it", names(wrong), w.o.Interface)}
			if !w.sentry.wanted {
				f.Kind, f.Text = KindUnexpected, fmt.Sprintf("%s on this host although this node does not hold it", names(wrong))
			}
			w.tell(zapcore.WarnLevel, f, wrong)
		case tellPersistent:
			text := "somebody keeps changing the address: find out who manages the interface"
			if len(wrong) > 0 {
				text = fmt.Sprintf("%s still not as wanted after a repair", names(wrong))
			}
			w.tell(zapcore.ErrorLevel, Finding{Kind: KindPersistent, Text: text}, wrong)
		case tellSuccess:
			w.tell(zapcore.InfoLevel, Finding{Kind: KindRepaired, Event: eventSuccess, Text: "the address is as wanted again"}, nil)
		case tellVoid:
			w.tell(zapcore.InfoLevel, Finding{Kind: KindVoid, Text: "the role has changed: another state of the address is wanted"}, nil)
		}
	}
}

// defend does what the rivals' claims lead to.
func (w *watch) defend(all []deed) {
	for _, d := range all {
		if d.announce.IsValid() {
			w.send(d.announce, netip.Addr{}, MAC{})
			continue
		}
		f := Finding{Kind: d.kind, Address: d.rival.address, MAC: d.rival.mac}
		level := zapcore.InfoLevel
		f.Text = fmt.Sprintf("%s has not claimed %s for %v", f.MAC, f.Address, rivalSilence)
		if d.kind == KindConflict {
			level = zapcore.ErrorLevel
			who := "another host"
			if w.rivals.isMember(f.MAC) {
				who = "another member of the pair"
			}
			f.Text = fmt.Sprintf("%s, %s, claims %s (%d times)", who, f.MAC, f.Address, d.claims)
		}
		w.tell(level, f, []netip.Addr{f.Address})
	}
}

// correspond does what the views of other nodes lead to.
func (w *watch) correspond(all []message) {
	for _, m := range all {
		v := m.view
		if m.announce {
			w.send(v.Address, v.From, v.FromMAC)
			continue
		}
		who := v.FromMAC.String()
		if v.From.IsValid() {
			who = v.From.String()
		}
		f := Finding{Kind: m.kind, Address: v.Address, MAC: v.MAC}
		level := zapcore.InfoLevel
		switch m.kind {
		case KindStaleNeighbour:
			level = zapcore.WarnLevel
			f.Text = fmt.Sprintf("%s has %s for %s: told again", who, v.MAC, v.Address)
		case KindNotPropagated:
			level = zapcore.ErrorLevel
			f.Text = fmt.Sprintf("%s has %s for %s, and telling it %d times did not help", who, v.MAC, v.Address, retellTries)
		case KindNeighbourFine:
			f.Text = fmt.Sprintf("%s has no wrong MAC for %s any more", who, v.Address)
			if !w.sentry.wanted {
				f.Text = fmt.Sprintf("what %s has for %s is another node's business now", who, v.Address)
			}
		}
		w.tell(level, f, []netip.Addr{v.Address})
	}
}

// tell reports and logs a finding about the addresses; none: about all.
func (w *watch) tell(level zapcore.Level, f Finding, about []netip.Addr) {
	if len(about) == 0 {
		for _, p := range w.o.Addresses {
			about = append(about, p.Addr())
		}
	}
	f.Address, f.Health = about[0], w.sentry.health
	w.log.Log(level, "address monitor", zap.Stringers("vip", about), zap.String("link", w.o.Interface),
		zap.String("code", f.Event), zap.String("why", f.Text))
	w.o.Report(f)
}

// names lists addresses for people.
func names(all []netip.Addr) string {
	var b strings.Builder
	for i, a := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}
