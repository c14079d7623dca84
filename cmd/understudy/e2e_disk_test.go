package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// ownDisks gives each node a file system of its own under its state folder.
func ownDisks(size string) func(*rig) {
	return func(p *rig) {
		p.prepare = func() error {
			for _, n := range allNodes() {
				if err := os.MkdirAll(p.state(n), 0o700); err != nil {
					return err
				}
				if err := unix.Mount("tmpfs", p.state(n), "tmpfs", 0, "size="+size); err != nil {
					return fmt.Errorf("mount a small disk: %w", err)
				}
				p.unmount = append(p.unmount, p.state(n))
			}
			return nil
		}
	}
}

func (p *rig) ballast(node string) string { return filepath.Join(p.state(node), "ballast") }

// fill leaves not one octet free on a node's disk.
func (p *rig) fill(node string) {
	p.t.Helper()
	f, err := os.Create(p.ballast(node))
	p.must(err)
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			p.t.Fatal(err)
		}
	}
	p.must(f.Close())
}

// Full disks under the state folders of all three nodes: the service does not notice, a switchover is carried out or refused with a
// reason, a node that is started on a full disk says so and ends, and all is well again when there is room.
func TestDisk_full(t *testing.T) {
	p := newRig(t, ownDisks("8m"))
	primary := p.primary()
	at := lab.Now()
	for _, n := range allNodes() {
		p.fill(n)
	}
	p.spend(primary)
	p.stayed(at, primary)
	out, err := p.cli(primary, "switchover", "--to", lab.Peer(primary))
	t.Logf("switchover on full disks: %v\n%s", err, out)
	p.must(err) // a store has taken its space in good time
	backup := primary
	primary = lab.Peer(primary)
	p.until(primary+" serves", func() bool { return p.lab.Primary() == primary })

	at = lab.Now()
	p.kill(backup)
	p.restart(backup)
	if code := p.code(backup); code != exitFailed {
		t.Errorf("exit code %d on a full disk", code)
	}
	p.untilLog(backup, "no space left on device")
	p.stayed(at, primary)
	for _, n := range allNodes() {
		p.must(os.Remove(p.ballast(n)))
	}
	p.restart(backup)
	p.healthy()
	p.must(p.Switchover(backup))
	p.healthy()
}

// Disks without the reserve that a store takes in good time, and full: the member says so and stops to take part in decisions; the service
// goes on; an order is refused with what to do; all is well again when there is room.
func TestDisk_failing(t *testing.T) {
	p := newRig(t, ownDisks("1m"))
	primary := p.primary()
	backup := lab.Peer(primary)
	at := lab.Now()
	p.fill(backup)
	p.spend(primary)
	p.untilLog(backup, "no space left on device")
	p.untilStatus(primary, backup+" cannot take over: its state folder cannot be written")
	out, err := p.cli(primary, "switchover", "--to", backup)
	t.Logf("switchover to the member with the full disk: %v\n%s", err, out)
	if err == nil || !strings.Contains(err.Error(), "its state folder cannot be written\n  put that right first") {
		t.Error("it was not refused, or does not say why")
	}
	p.fill(lab.Witness)
	p.until("the witness can't write either", func() bool {
		p.spend(primary)
		return strings.Contains(p.log(lab.Witness), "no space left on device")
	})
	out, err = p.cli(primary, "pause", "--for", "1h", "--reason", "full")
	t.Logf("pause without a majority that can write: %v\n%s", err, out)
	if err == nil || !strings.Contains(err.Error(), "\n  ") {
		t.Error("it was not refused, or does not say what to do")
	}
	p.stayed(at, primary)
	at = lab.Now()
	for _, n := range []string{backup, lab.Witness} {
		p.must(os.Remove(p.ballast(n)))
	}
	p.until("orders are carried out again", func() bool { _, err := p.cli(primary, "resume"); return err == nil })
	p.healthy()
	p.stayed(at, primary)
	p.must(p.Switchover(backup))
	p.healthy()
}

// spend makes the nodes write.
func (p *rig) spend(node string) {
	p.t.Helper()
	for range 12 { // more than fits between two pages of the store
		for _, args := range [][]string{{"pause", "--for", "1h", "--reason", strings.Repeat("the disk is full ", 10)}, {"resume"}} {
			if out, err := p.cli(node, args...); err != nil {
				p.t.Logf("%s: %v\n%s", args[0], err, out)
				return
			}
		}
	}
}

// A store that is cut short, overwritten or gone: it is named, kept aside where there is something to keep, and the node is brought up to
// date by the others. The record never goes back.
func TestDisk_damaged(t *testing.T) {
	p := newRig(t)
	p.must(p.Switchover(lab.Peer(p.primary()))) // so that there is a past
	p.healthy()
	overwrite := func(at int64) func(string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("\xde\xad\xbe\xef\xde\xad\xbe\xef"), at)
			return errors.Join(err, f.Close())
		}
	}
	truncate := func(to int64) func(string) error {
		return func(path string) error { return os.Truncate(path, to) }
	}
	for i, c := range []struct {
		name   string
		damage func(path string) error
		says   string
	}{
		{"first meta page", overwrite(20), "state set aside"}, {"second meta page", overwrite(4096 + 60), "state set aside"},
		{"cut to nothing", truncate(0), "state set aside"}, {"cut to a page", truncate(4096), "state set aside"},
		{"cut in the middle", truncate(10000), "state set aside"}, {"gone", os.Remove, "state lost"},
		{"not a store", func(path string) error { return os.WriteFile(path, make([]byte, 65536), 0o600) }, "state set aside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			n := allNodes()[i%3]
			epoch, primary := p.epoch(n), p.primary()
			at := lab.Now()
			p.kill(n)
			p.read[n] += int64(len(p.log(n)))
			p.must(c.damage(filepath.Join(p.state(n), "raft.db")))
			p.restart(n)
			p.untilLog(n, c.says)
			p.healthy()
			o := p.outage(at)
			t.Logf("%s was primary, store of %s damaged; served by %v, outage %v", primary, n, o.Servers, o.Longest)
			if away(o) {
				t.Errorf("the service was away for %v", o.Longest)
			}
			p.grown(n, epoch)
			p.must(p.Switchover(lab.Peer(p.primary()))) // it takes part
			p.healthy()
			if kept, _ := filepath.Glob(filepath.Join(p.state(n), "raft.db.corrupt-*")); len(kept) == 0 && c.says == "state set aside" {
				t.Error("nothing was kept")
			}
		})
	}
	p.t = t
}

// Every page of a store overwritten, one after the other: damage in what is in use is found, in what is free it does no harm.
func TestDisk_everyPage(t *testing.T) {
	p := newRig(t)
	n := lab.Witness
	path := filepath.Join(p.state(n), "raft.db")
	at, primary := lab.Now(), p.primary()
	epoch := p.epoch(n)
	aside := 0
	for page := range 8 {
		p.kill(n)
		p.read[n] += int64(len(p.log(n)))
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		p.must(err)
		_, err = f.WriteAt([]byte(strings.Repeat("junk", 100)), int64(page)*4096+32)
		p.must(errors.Join(err, f.Close()))
		p.restart(n)
		p.healthy()
		if strings.Contains(p.log(n), "state set aside") {
			aside++
		}
		p.grown(n, epoch)
	}
	t.Logf("%d of 8 stores were set aside", aside)
	if aside < 3 {
		t.Errorf("only %d damaged stores were found", aside)
	}
	p.stayed(at, primary)
}
