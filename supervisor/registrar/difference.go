package registrar

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// slack is how far two moments of expiry may differ and still be called equal: servers count whole seconds, and so do those who tell us.
const slack = 3 * time.Second

// difference is what must be done to make have the same as want: what to write, and what to remove. key tells the bindings apart as the
// server does, same reports whether the server would tell two of them apart.
func difference(have, want []location.Binding, key func(*location.Binding) string, same func(a, b *location.Binding) bool) (write, remove []location.Binding) {
	wanted := make(map[string]bool, len(want))
	present := make(map[string]*location.Binding, len(have))
	for i := range have {
		present[key(&have[i])] = &have[i]
	}
	for i := range want {
		k := key(&want[i])
		wanted[k] = true
		if b := present[k]; b == nil || !same(b, &want[i]) {
			write = append(write, want[i])
		}
	}
	for i := range have {
		if !wanted[key(&have[i])] {
			remove = append(remove, have[i])
		}
	}
	return write, remove
}

// unexpired are the bindings that still have a second to live: to write others would be to bring back what is gone.
func unexpired(want []location.Binding, now time.Duration) []location.Binding {
	var live []location.Binding
	for i := range want {
		if remaining(&want[i], now) > 0 {
			live = append(live, want[i])
		}
	}
	return live
}

// byContact tells bindings apart by their URI, as servers do that know no instances.
func byContact(b *location.Binding) string { return b.Contact }

// sameTime reports whether two bindings end at the same moment, as far as one can tell.
func sameTime(a, b *location.Binding) bool { return (a.Expires - b.Expires).Abs() <= slack }

// remaining is how many whole seconds a binding has left.
func remaining(b *location.Binding, now time.Duration) int {
	return int((b.Expires - now + time.Second/2) / time.Second)
}
