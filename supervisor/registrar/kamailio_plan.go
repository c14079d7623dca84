package registrar

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// ErrNewer reports a registration that the server has and that is newer than the one that it should be given: it stays as it is.
var ErrNewer = errors.New("the server has a newer registration")

// kamailioStep is one thing to do to an address of record.
type kamailioStep struct {
	binding location.Binding // to write; or to remove, as the server has it
	remove  bool
	seen    string // what the server must have under the same key, or else somebody was faster
}

// kamailioPlan finds what must be done. Kamailio's registrar has rules that make it more than a difference (modules/usrloc/urecord.c,
// modules/registrar/save.c): a Contact with an instance is found by the instance and taken whatever its CSeq, so the order is ours to
// keep; one without is found by its URI, and the first that has the URI is taken, even one with an instance; and it is refused, or
// answered and not changed, unless its CSeq is higher.
type kamailioPlan struct {
	now        time.Duration
	minExpires time.Duration
	changed    map[string]bool // by key: somebody was faster, and is newer
	newer      bool            // something was left as it is
}

func kamailioSeen(b *location.Binding) string {
	return strconv.FormatUint(uint64(b.CSeq), 10) + " " + b.CallID
}

const seenNone = "none"

// steps gives what makes have the same as want.
func (p *kamailioPlan) steps(have, want []location.Binding) []kamailioStep {
	p.newer = false
	kept := map[string]bool{} // keys that are newer than what is wanted
	wanted := map[string]bool{}
	var steps []kamailioStep
	for _, w := range want {
		key := w.Key()
		wanted[key] = true
		i := slices.IndexFunc(have, func(h location.Binding) bool { return h.Key() == key })
		switch {
		case i < 0:
			steps = append(steps, kamailioStep{binding: w, seen: seenNone})
		case p.same(&have[i], &w):
		case w.Older(&have[i]) || p.changed[key]:
			kept[key], p.newer = true, true
		case inTheWay(&have[i], &w, have):
			steps = append(steps, kamailioStep{binding: have[i], remove: true, seen: kamailioSeen(&have[i])}, kamailioStep{binding: w, seen: seenNone})
		default:
			steps = append(steps, kamailioStep{binding: w, seen: kamailioSeen(&have[i])})
		}
	}
	for i, h := range have {
		key := h.Key()
		if !wanted[key] && p.changed[key] {
			kept[key], p.newer = true, true
		} else if !wanted[key] || slices.ContainsFunc(have[:i], func(o location.Binding) bool { return o.Key() == key }) {
			steps = append(steps, kamailioStep{binding: h, remove: true, seen: kamailioSeen(&h)})
		}
	}
	for uri := range entangled(steps, have) {
		steps = p.disentangle(uri, steps, have, want, kept)
	}
	slices.SortStableFunc(steps, func(a, b kamailioStep) int { return a.rank() - b.rank() })
	return steps
}

// inTheWay reports whether the server must lose h before it takes w in its place: without an instance the same CSeq is refused, and with
// one a new Call-ID ends all other flows of the instance.
func inTheWay(h, w *location.Binding, have []location.Binding) bool {
	if w.Instance == "" {
		return w.CallID == h.CallID && w.CSeq == h.CSeq
	}
	return w.CallID != h.CallID && slices.ContainsFunc(have, func(o location.Binding) bool {
		return o.Instance == w.Instance && o.RegID != w.RegID
	})
}

// rank orders the steps: first what goes, so that a limit of Contacts leaves room. Of those that share a URI, the ones that are found by
// their instance go first and come last: in between the URI finds just the one that is meant.
func (s *kamailioStep) rank() int {
	switch withInstance := s.binding.Instance != ""; {
	case s.remove && withInstance:
		return 0
	case s.remove:
		return 1
	case !withInstance:
		return 2
	default:
		return 3
	}
}

// entangled are the URIs by which the server would find another binding than the one that a step means.
func entangled(steps []kamailioStep, have []location.Binding) map[string]bool {
	uris := map[string]bool{}
	for _, s := range steps {
		if s.binding.Instance != "" {
			continue
		}
		holders := 0
		for _, h := range have {
			if h.Contact == s.binding.Contact {
				holders++
				if h.Instance != "" {
					uris[h.Contact] = true
				}
			}
		}
		if holders > 1 {
			uris[s.binding.Contact] = true
		}
	}
	return uris
}

// disentangle begins anew with all bindings of a URI; unless one of them is to stay.
func (p *kamailioPlan) disentangle(uri string, steps []kamailioStep, have, want []location.Binding, kept map[string]bool) []kamailioStep {
	steps = slices.DeleteFunc(steps, func(s kamailioStep) bool { return s.binding.Contact == uri })
	for _, h := range have {
		if h.Contact == uri && kept[h.Key()] {
			return steps
		}
	}
	for _, h := range have {
		if h.Contact == uri {
			steps = append(steps, kamailioStep{binding: h, remove: true, seen: kamailioSeen(&h)})
		}
	}
	for _, w := range want {
		if w.Contact == uri {
			steps = append(steps, kamailioStep{binding: w, seen: seenNone})
		}
	}
	return steps
}

// same reports whether the server has what is wanted. Flags are the server's own and can't be given to it; a socket that this server has
// no counterpart of does not matter.
func (p *kamailioPlan) same(h, w *location.Binding) bool { return len(p.differences(h, w)) == 0 }

// differences names the fields, for people: the values are nobody's business.
func (p *kamailioPlan) differences(h, w *location.Binding) []string {
	var names []string
	for _, field := range [...]struct {
		name    string
		differs bool
	}{
		{"Contact", h.Contact != w.Contact},
		{"q", h.Q != w.Q},
		{"Call-ID", h.CallID != w.CallID},
		{"CSeq", h.CSeq != w.CSeq},
		{"User-Agent", h.UserAgent != w.UserAgent},
		{"received address", h.Received != w.Received},
		{"Path", h.Path != w.Path},
		{"socket", w.Socket != "" && !strings.EqualFold(h.Socket, w.Socket)},
		{"instance", h.Instance != w.Instance},
		{"reg-id", h.RegID != w.RegID},
		{"branch flags", h.Branch != w.Branch},
		{"methods", h.Methods != w.Methods},
		{"expiry", !p.sameExpiry(h, w)},
	} {
		if field.differs {
			names = append(names, field.name)
		}
	}
	return names
}

// sameExpiry reports whether the expiry is what it was made: the server lengthens one that is shorter than it allows.
func (p *kamailioPlan) sameExpiry(h, w *location.Binding) bool {
	if w.Expires-p.now > forever {
		return h.Expires-p.now > forever
	}
	return sameTime(h, w) || h.Expires > w.Expires && h.Expires-p.now <= p.minExpires+slack
}
