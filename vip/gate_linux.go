package vip

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// gate is the nftables fence: a table in family inet and one in family arp, which drop everything to and from the service addresses
// that are no element of the set "lease". The elements expire.
//
// They are refreshed by packets that this process sends to itself and that the rules of the chain "refresh" recognise and drop, not
// by netlink: every netlink change starts a new generation of the ruleset. At 50 a second, `nft list ruleset` never ends on a host with
// some 10,000 set elements, because it starts over with every generation; and changes wait while others load theirs (80 ms measured),
// which would close the gate in mid-service.
type gate struct {
	name   string
	v4, v6 []netip.Addr
	rungs  []rung
	mark   uint32 // packets with it, plus one and the rung's index, refresh; with it alone, they close
	port   *refresher
}

// netlinkPatience bounds one exchange with the kernel. google/nftables waits for ever where the kernel sends fewer answers than it
// counts on, as it does without nf_tables.
const netlinkPatience = 2 * time.Second

func newGate(cluster string, group []netip.Prefix, lease time.Duration) *gate {
	g := &gate{name: tableName(cluster), rungs: ladder(lease)}
	for _, p := range group {
		if p.Addr().Is4() {
			g.v4 = append(g.v4, p.Addr())
		} else {
			g.v6 = append(g.v6, p.Addr())
		}
	}
	// A random mark: a frozen older process that thaws can't refresh the gate of the one that replaced it.
	var b [4]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	g.mark = binary.NativeEndian.Uint32(b[:]) | 0x80000000
	g.mark &^= 0xff
	return g
}

// conn gives a connection whose every exchange opens a socket of its own with a deadline.
func (g *gate) conn() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(1<<20), c.SetDeadline(time.Now().Add(netlinkPatience)))
	}))
}

func (g *gate) inet() *nftables.Table {
	return &nftables.Table{Name: g.name, Family: nftables.TableFamilyINet}
}

func (g *gate) arp() *nftables.Table {
	return &nftables.Table{Name: g.name, Family: nftables.TableFamilyARP}
}

// install makes the tables anew in one transaction, with the gate closed.
func (g *gate) install() error {
	c, err := g.conn()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	for _, t := range []*nftables.Table{g.inet(), g.arp()} {
		c.AddTable(t) // deleting fails if there is none
		c.DelTable(t)
	}
	if err := g.inetRules(c); err != nil {
		return fmt.Errorf("describe table inet %s: %w", g.name, err)
	}
	if len(g.v4) > 0 {
		if err := g.arpRules(c); err != nil {
			return fmt.Errorf("describe table arp %s: %w", g.name, err)
		}
	}
	return g.flush(c, "create")
}

// uninstall removes the tables; it is no error that there are none.
func (g *gate) uninstall() error {
	c, err := g.conn()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	for _, t := range []*nftables.Table{g.inet(), g.arp()} {
		c.AddTable(t)
		c.DelTable(t)
	}
	return g.flush(c, "delete")
}

func (g *gate) flush(c *nftables.Conn, verb string) error {
	err := c.Flush()
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s nftables table %s: CAP_NET_ADMIN is needed: %w", verb, g.name, err)
	}
	if err != nil {
		return fmt.Errorf("%s nftables table %s: %w", verb, g.name, err)
	}
	return nil
}

// arm lets the elements live for as long as the lease that ends at until surely does. open is false if it ends too soon, and the gate
// is closed then. again is when to arm once more for the same lease, if it lasts longer than any element.
func (g *gate) arm(clock func() time.Duration, until time.Duration) (again time.Duration, open bool, err error) {
	for rung := pick(g.rungs, until-clock()); rung >= 0; {
		if err := g.port.send(g.mark + 1 + uint32(rung)); err != nil {
			return never, false, err
		}
		// The process may have been frozen after it read the clock: then the element outlives the lease. A lower rung cuts it short.
		now := clock()
		lower := pick(g.rungs, until-now)
		if lower == rung {
			again = never
			if usual := g.rungs[0]; until-now > usual.needs*5/4 {
				again = now + usual.timeout/2
			}
			return again, true, nil
		}
		rung = lower
	}
	return never, false, g.shut()
}

// shut closes the gate.
func (g *gate) shut() error { return g.port.send(g.mark) }

// works reports whether all elements are there: while the gate is open, the proof that the rules do refresh.
func (g *gate) works() (bool, error) {
	n, err := g.elements()
	return n == 2*len(g.v4)+len(g.v6), err
}

// elements counts the elements of the lease sets of both tables.
func (g *gate) elements() (int, error) {
	c, err := g.conn()
	if err != nil {
		return 0, fmt.Errorf("open netlink: %w", err)
	}
	n := 0
	for _, s := range g.leases() {
		elements, err := c.GetSetElements(s)
		if err != nil {
			return n, fmt.Errorf("read set %s of %s: %w", s.Name, g.name, err)
		}
		for _, e := range elements {
			if e.Expires > 0 {
				n++
			}
		}
	}
	return n, nil
}

// test proves that the gate opens, closes and ends by itself, without any address being up.
func (g *gate) test() error {
	if err := g.shut(); err != nil {
		return fmt.Errorf("close the gate: %w", err)
	}
	for i := len(g.rungs) - 1; i >= 0; i-- {
		if err := g.port.send(g.mark + 1 + uint32(i)); err != nil {
			return fmt.Errorf("open the gate: %w", err)
		}
	}
	if ok, err := g.works(); err != nil || !ok {
		return errors.Join(errors.New("packets to the loopback interface do not open the gate"), err)
	}
	if err := g.shut(); err != nil {
		return fmt.Errorf("close the gate: %w", err)
	}
	if n, err := g.elements(); err != nil || n != 0 {
		return errors.Join(errors.New("packets to the loopback interface do not close the gate"), err)
	}
	return nil
}
