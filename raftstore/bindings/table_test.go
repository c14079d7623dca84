package bindings

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// A backup holds nothing of those who have left, and looks again at what has expired until the primary says so.
func TestTable_backupForgets(t *testing.T) {
	table := newTable(1)
	table.known.theirOwn = ^Version(0) // as after a meeting
	count := uint64(0)
	receive := func(aor string, now time.Duration, bindings ...Binding) {
		count++
		table.receive(Record{AOR: aor, Version: versionOf(1, count, 0), Bindings: bindings}, false, 1, now)
	}
	var now time.Duration
	for i := range 3000 {
		now = time.Duration(i) * time.Minute
		aor := fmt.Sprintf("u%d@example.net", i)
		receive(aor, now, Binding{Binding: testBinding("sip:a@192.0.2.1", 1, now+time.Hour)})
		receive(aor, now)
		table.saving.take(10)
		table.taking.take(10)
		table.bury(10)
		table.wait(now, 1000)
	}
	receive("stays", now, Binding{Binding: testBinding("sip:a@192.0.2.1", 1, now+time.Hour)})
	for range 3 {
		now += time.Hour
		for table.wait(now, 1000) {
		}
	}
	waiting, records := 0, 0
	for _, slot := range table.wheel.slots {
		waiting += len(slot)
	}
	for _, b := range table.buckets {
		records += len(b.records)
	}
	if waiting != 1 || records != 1 || table.gone != 0 {
		t.Errorf("%d in the wheel, %d records, %d gone; want the one that is there", waiting, records, table.gone)
	}
}

// Tables that differ in many records become equal by sending these once.
func TestPair_massRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		p.settle()
		const n = 12_000
		for i := range n {
			p.register(fmt.Sprintf("u%d", i), "sip:a@192.0.2.1"+strings.Repeat("0", 200), 1, 10*time.Hour)
		}
		p.settle()
		first, b := p.stores[0].Status().BytesOut, p.stores[1]
		b.mu.Lock()
		for i := range n {
			b.t.drop(b.t.entry(fmt.Sprintf("u%d", i)))
		}
		b.mu.Unlock()
		p.settle()
		if again := p.stores[0].Status().BytesOut - first; again > 2*first+3*8*n { // besides the records, two lists of digests
			t.Errorf("%d octets to repair what took %d", again, first)
		}
	})
}

// The same of a restless phone on the stream.
func TestPair_restlessPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		p.settle()
		p.disconnect()
		for i := range 3 * MaxBindings {
			b := testBinding(fmt.Sprintf("sip:%d%s@192.0.2.1", i, strings.Repeat("x", 1000)), 1, p.stores[0].o.Clock.Now()+time.Hour)
			if err := p.stores[0].Set("a", []location.Binding{b}, Cause{}); err != nil {
				t.Fatal(err)
			}
		}
		p.lead(1)
		p.connect()
		p.settle()
	})
}
