package vip

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// look asks the kernel how things are, instead of what has changed.
func (w *watch) look() {
	w.looked = w.o.Clock()
	w.lookAt = w.looked + w.o.Poll
	s, err := w.addrs.survey()
	if err != nil {
		if !w.blind {
			w.log.Warn("the kernel does not tell of the service address", zap.NamedError("err", err))
		}
		w.blind = true
		return
	}
	w.blind = false
	w.ledger.index, w.ledger.places, w.own = s.link.index, s.places, s.own
	w.use(s.link)
	w.learnPeers()
	w.judge()
}

// lookSoon looks at once, or a moment after the last time.
func (w *watch) lookSoon() {
	if w.lookAt = min(w.lookAt, w.looked+lookSpacing); w.lookAt <= w.o.Clock() {
		w.look()
	}
}

// lookSpacing is between two looks that events lead to: an interface may flap, and a scan of the network may make the kernel drop
// events again and again.
const lookSpacing = 50 * time.Millisecond

// use turns ears and announcer to the interface as it is now.
func (w *watch) use(l link) {
	w.propagation.use(macOf(l.mac))
	if w.ears == nil || l.index == 0 || len(l.mac) != 6 || l.index == w.link.index && string(l.mac) == string(w.link.mac) {
		return
	}
	if err := w.ears.use(l); err != nil {
		w.log.Warn("claims of other hosts are not seen", zap.String("link", w.o.Interface), zap.NamedError("err", err))
		return // and tried again at the next look
	}
	w.announce.use(l)
	w.link = w.announce.link
}

// concerns reports whether an event is about us. It may be called by any goroutine.
func (w *watch) concerns(h happening) bool {
	switch h.kind {
	case addressChanged:
		return w.ledger.ours(h.address.address)
	case linkChanged:
		return h.link == w.o.Interface
	case neighbourChanged:
		return slices.Contains(w.o.Peers, h.neighbour.address)
	}
	return true
}

// event takes an event of the kernel.
func (w *watch) event(h happening) {
	switch h.kind {
	case addressChanged:
		if w.ledger.apply(h.address) {
			w.judge()
		}
	case linkChanged:
		w.lookSoon()
	case neighbourChanged:
		w.rivals.member(h.neighbour.mac)
	case eventsLost:
		w.lookSoon()
	}
}

// judge has the addresses compared with what is wanted.
func (w *watch) judge() {
	now := w.o.Clock()
	wrong := w.ledger.wrong(w.sentry.wanted)
	w.conclude(w.sentry.see(now, len(wrong) == 0, w.o.Effector.Busy()))
}

// learnPeers learns the MACs of the other members that the kernel knows.
func (w *watch) learnPeers() {
	if len(w.o.Peers) == 0 {
		return
	}
	all, err := w.addrs.neighbours()
	if err != nil {
		w.log.Debug("neighbours not listed", zap.NamedError("err", err))
	}
	for _, n := range all {
		if slices.Contains(w.o.Peers, n.address) {
			w.rivals.member(n.mac)
		}
	}
}

// claimed takes a claim that was heard.
func (w *watch) claimed(c claim) {
	if w.own[c.mac] || string(w.link.mac) == string(c.mac[:]) {
		return
	}
	w.defend(w.rivals.claim(w.o.Clock(), c.address, c.mac))
}

// read takes what other goroutines told.
func (w *watch) read(all []letter) {
	now := w.o.Clock()
	for _, l := range all {
		switch {
		case l.announce:
			for _, p := range w.o.Addresses {
				w.send(p.Addr(), l.to, l.mac)
			}
		case l.view != nil:
			if w.ledger.ours(l.view.Address) {
				w.correspond(w.propagation.view(now, *l.view))
			}
		default:
			w.rivals.member(l.member)
		}
	}
}

// send announces an address to everybody and, with a MAC, to that neighbour before.
func (w *watch) send(address, to netip.Addr, mac MAC) {
	if w.announce == nil || len(w.link.mac) != 6 {
		return
	}
	frames := announcement(address, w.link.mac)
	if unicast(mac) {
		frames = append(directed(address, w.link.mac, to, mac), frames...)
	}
	err := w.announce.emit(frames, func() bool {
		wanted, _ := w.wish.wants()
		return !wanted || !w.ledger.has(address, true)
	})
	if err != nil {
		w.log.Warn("address not announced", zap.Stringer("vip", address), zap.NamedError("err", err))
	}
}
