package traffic

import (
	"net/netip"
	"testing"
)

// The probes of the pair's other nodes, and what their servers answer to ours, are no traffic; anything else from there is.
func TestObserver_pair(t *testing.T) {
	o := DefaultOptions()
	peer := netip.MustParseAddrPort("192.0.2.12:5060")
	o.Pair = []netip.Addr{peer.Addr()}
	w := newObserver(o)
	us := netip.MustParseAddrPort("192.0.2.10:5060")
	in, out := Meta{From: peer, To: us, In: true, At: 1}, Meta{From: us, To: peer, At: 1}
	w.message([]byte(request("OPTIONS", "a", 1)), in)
	w.message([]byte(response(200, "OPTIONS", "a", 1)), out)
	w.message([]byte(request("OPTIONS", "b", 1)), out)
	w.message([]byte(response(200, "OPTIONS", "b", 1)), in)
	if w.stats.Pair != 4 || w.stats.In.Total() != 0 || w.stats.Out.Total() != 0 || w.stats.LastIn != 0 {
		t.Errorf("probes of the pair: got %+v", w.stats)
	}
	w.message([]byte(request("INVITE", "c", 1)), in)
	w.message([]byte(request("OPTIONS", "d", 1)), Meta{From: netip.MustParseAddrPort("192.0.2.77:5060"), To: us, In: true, At: 2})
	if w.stats.In.Total() != 2 || w.stats.LastIn != 2 {
		t.Errorf("traffic: got %+v", w.stats)
	}
}
