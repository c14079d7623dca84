package vip

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// neighboursOn watches the host's neighbour table until the test ends.
func neighboursOn(t testing.TB, h host, report func(View)) *Neighbours {
	t.Helper()
	n, err := NewNeighbours(NeighboursOptions{Addresses: group, Interface: wire, Report: report, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := h.start(func() error { return n.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	eventually(t, "first views", func() bool { return len(n.Views()) == len(group) })
	return n
}

// seenViews collects views.
type seenViews struct {
	mu  sync.Mutex
	all []View
}

func (s *seenViews) add(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, v)
}

func (s *seenViews) take() []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// A view is told at the start, when the MAC changes and when the entry goes; doubts of the kernel are not.
func TestNeighbours_views(t *testing.T) {
	_, b := pair(t)
	var seen seenViews
	n := neighboursOn(t, b, seen.add)
	if all := seen.take(); len(all) != len(group) || !all[0].MAC.IsZero() || all[0].State != "none" {
		t.Errorf("at the start %+v", all)
	}
	for _, p := range group {
		for _, step := range []struct {
			mac   MAC
			state int
			tells bool
		}{{macA, netlink.NUD_STALE, true}, {macA, netlink.NUD_PERMANENT, false}, {stranger, netlink.NUD_PERMANENT, true}} {
			b.believe(t, p.Addr(), step.mac, step.state)
			if !step.tells {
				time.Sleep(50 * time.Millisecond)
				if all := seen.take(); len(all) != 0 {
					t.Errorf("told %+v", all)
				}
				continue
			}
			var all []View
			eventually(t, "a view", func() bool { all = seen.take(); return len(all) > 0 })
			if v := all[0]; v.MAC != step.mac || v.Address != p.Addr() || v.FromMAC != b.mac(t) || v.At.IsZero() {
				t.Errorf("%+v", v)
			}
		}
		b.do(t, func() error {
			l, err := netlink.LinkByName(wire)
			return errors.Join(err, netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: p.Addr().AsSlice()}))
		})
		eventually(t, "a view without MAC", func() bool {
			return slices.ContainsFunc(seen.take(), func(v View) bool { return v.Address == p.Addr() && v.MAC.IsZero() })
		})
	}
	if got := n.Views(); len(got) != len(group) || got[0].Address != group[0].Addr() {
		t.Errorf("%+v", got)
	}
}

// By order, and only then, the kernel looks for the holder.
func TestNeighbours_Ask(t *testing.T) {
	a, b := pair(t)
	v := launch(t, a, func(o *Options) { o.Announce = Announce{} })
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	n := neighboursOn(t, b, func(View) {})
	time.Sleep(100 * time.Millisecond)
	for _, view := range n.Views() {
		if !view.MAC.IsZero() {
			t.Errorf("without being asked: %+v", view)
		}
	}
	n.Ask()
	eventually(t, "the holder's MAC", func() bool {
		return !slices.ContainsFunc(n.Views(), func(v View) bool { return v.MAC != a.mac(t) })
	})
}

// Messages of the kernel that are cut or strange are no crash, and no address of nobody.
func FuzzNetlink(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWNEIGH), []byte{2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 1, 8, 0, 1, 0, 10, 77, 0, 100, 10, 0, 2, 0, 2, 0, 0, 0, 0, 1, 0, 0})
	f.Add(uint16(unix.RTM_NEWADDR), []byte{2, 32, 128, 0, 3, 0, 0, 0, 8, 0, 2, 0, 10, 77, 0, 100})
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: b}
		if n, ok := parseNeighbour(m); ok && !n.address.IsValid() {
			t.Errorf("%x: %+v", b, n)
		}
		if e, ok := parseAddress(m); ok && !e.address.IsValid() {
			t.Errorf("%x: %+v", b, e)
		}
		if h, ok := parseEvent(m); ok && h.kind == linkChanged && h.link == "" {
			t.Errorf("%x: a link without name", b)
		}
	})
}

// Options that can't work are refused, with all that is wrong.
func TestNewNeighbours_refuses(t *testing.T) {
	if _, err := NewNeighbours(NeighboursOptions{}); err == nil {
		t.Error("no options were taken")
	}
}
