package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// contents is everything that raft would read from a disk.
func contents(t *testing.T, d *disk) string {
	t.Helper()
	var b strings.Builder
	first, _ := d.FirstIndex()
	last, _ := d.LastIndex()
	fmt.Fprintln(&b, first, last)
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := d.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, l.Index, l.Term, l.Type, string(l.Data))
	}
	for _, key := range []string{keyTerm, keyVoteTerm, keyVoteFor} {
		v, err := d.Get([]byte(key))
		fmt.Fprintln(&b, key, v, err)
	}
	if d.saved != nil {
		fmt.Fprintf(&b, "%+v %s\n", d.saved.Meta, d.saved.Data)
	}
	return b.String()
}

func mustOpenDisk(t testing.TB, path string) *disk {
	t.Helper()
	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fill(t testing.TB, d *disk, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		l := &raft.Log{Index: i, Term: 2 + i/50, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, int(20+i%300))}
		if err := d.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
}

func saveSnapshot(t testing.TB, d *disk, index uint64, data string) {
	t.Helper()
	sink, err := d.Create(1, index, 2, voters([]Node{{}}), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// sampleDisk is a store with a history: appends, cut-offs at both ends, votes and a snapshot.
func sampleDisk(t testing.TB, path string) {
	t.Helper()
	d := mustOpenDisk(t, path)
	defer d.close()
	if err := d.prepare(3, true, nil); err != nil {
		t.Fatal(err)
	}
	fill(t, d, 2, 60)
	if err := d.DeleteRange(55, 60); err != nil {
		t.Fatal(err)
	}
	saveSnapshot(t, d, 40, strings.Repeat("record ", 3000))
	if err := d.DeleteRange(1, 20); err != nil {
		t.Fatal(err)
	}
	fill(t, d, 55, 57)
	if err := d.SetUint64([]byte(keyTerm), 4); err != nil {
		t.Fatal(err)
	}
}

// What was written is there again after closing and opening.
func TestDisk_roundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), diskFile)
	sampleDisk(t, path)
	d := mustOpenDisk(t, path)
	defer d.close()
	if first, _ := d.FirstIndex(); first != 21 {
		t.Errorf("first entry is %d, want 21", first)
	}
	if d.lastIndex() != 57 || d.term() != 4 {
		t.Errorf("last entry %d in term %d, want 57 in 4", d.lastIndex(), d.term())
	}
	var l raft.Log
	if err := d.GetLog(57, &l); err != nil || l.Extensions != nil || len(l.Data) != 77 {
		t.Errorf("entry 57 is %+v (%v)", l, err)
	}
	if err := d.GetLog(58, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("entry 58: got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
}

// stride is how many octets TestDisk_flippedOctets skips on average, times two.
const stride = 10

// Of every damaged octet the store is either found damaged or unharmed: there is no third case, no panic and no fault.
func TestDisk_flippedOctets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, diskFile)
	sampleDisk(t, path)
	d := mustOpenDisk(t, path)
	want := contents(t, d)
	d.close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	values := func(b []byte) (got uint32, ok bool) {
		f := &boltFile{b: b, want: []string{bucketConf, bucketLogs}}
		f.seen = func(key, value []byte) {
			got = crc32.Update(crc32.Update(got, castagnoli, key), castagnoli, value)
		}
		ok = f.check() == nil
		return got, ok
	}
	intact, _ := values(good)
	structure, sums, unharmed := 0, 0, 0
	bad := filepath.Join(dir, "bad.db")
	b := bytes.Clone(good)
	for i := 0; i < usedOctets(good); i += 1 + random.IntN(stride) {
		bit := byte(1) << random.IntN(8)
		b[i] ^= bit
		switch got, ok := values(b); {
		case !ok:
			if checkBoltFile(b, bucketConf, bucketLogs) == nil {
				t.Fatalf("octet %d: not found", i)
			}
			structure++
		case got == intact:
			unharmed++
		default: // only the checksums can tell; a sample, as opening takes time
			if sums++; sums%50 == 0 {
				mustTell(t, bad, b, i, want)
			}
		}
		b[i] ^= bit
	}
	t.Logf("%d octets broke the structure, %d a value, %d nothing (free pages and padding)", structure, sums, unharmed)
	if structure == 0 || sums == 0 || unharmed == 0 {
		t.Error("the test does not test")
	}
	d = mustOpenDisk(t, path)
	defer d.close()
	if got := contents(t, d); got != want {
		t.Error("the good store has changed")
	}
}

// mustTell opens a damaged store: it is found damaged, or what raft reads from it is unharmed (an entry's time of day has no checksum).
func mustTell(t *testing.T, path string, b []byte, at int, want string) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(path)
	if err == nil {
		defer d.close()
		if got := contents(t, d); got != want {
			t.Fatalf("octet %d: a damaged store was believed", at)
		}
		return
	}
	var corrupt *corruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("octet %d: %v is no corruption", at, err)
	}
}

// usedOctets is how far a bbolt file has contents: behind are reserved zeros.
func usedOctets(b []byte) int {
	return int(max(le.Uint64(b[boltHeader+40:]), le.Uint64(b[4096+boltHeader+40:]))) * 4096
}

// A file that was cut off anywhere is found damaged, not read as a shorter history.
func TestDisk_everyTruncation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, diskFile)
	sampleDisk(t, path)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < usedOctets(good); n += 97 {
		if err := checkBoltFile(good[:n], bucketConf, bucketLogs); err == nil {
			t.Fatalf("cut off after %d of %d octets: believed", n, usedOctets(good))
		}
	}
	if err := checkBoltFile(good[:usedOctets(good)], bucketConf, bucketLogs); err != nil {
		t.Errorf("without its reserve: %v", err)
	}
}

// Whole pages of zeros or of other pages, as lost and misdirected writes leave them, are found.
func TestDisk_lostWrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, diskFile)
	sampleDisk(t, path)
	d := mustOpenDisk(t, path)
	want := contents(t, d)
	d.close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pages := usedOctets(good) / 4096
	bad := filepath.Join(dir, "bad.db")
	for i := range pages {
		for _, from := range []int{-1, (i + 1) % pages, (i + 7) % pages} {
			b := bytes.Clone(good)
			page := make([]byte, 4096)
			if from >= 0 {
				copy(page, good[from*4096:])
			}
			copy(b[i*4096:], page)
			if err := os.WriteFile(bad, b, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := openDisk(bad)
			if err != nil {
				continue
			}
			if got := contents(t, d); got != want {
				t.Fatalf("page %d replaced by %d: a damaged store was believed", i, from)
			}
			d.close()
		}
	}
}

func FuzzBoltFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), diskFile)
	sampleDisk(f, path)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	good = good[:usedOctets(good)]
	f.Add(0, []byte{1})
	f.Add(4096*3, []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, at int, patch []byte) {
		b := bytes.Clone(good)
		copy(b[uint(at)%uint(len(b)):], patch)
		_ = checkBoltFile(b, bucketConf, bucketLogs) // must return
	})
}

// The first failed write closes the disk: no vote and no entry is saved after it, a term is only believed, and reads do nothing.
func TestDisk_failsForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), diskFile)
	sampleDisk(t, path)
	d := mustOpenDisk(t, path)
	want := contents(t, d)
	fault := unix.ENOSPC
	d.before = func(string) error {
		if fault != 0 {
			return fault
		}
		return nil
	}
	if err := d.SetUint64([]byte(keyTerm), 9); err != nil {
		t.Errorf("saving the term: got %v, raft panics on that", err)
	}
	fault = 0
	if err := d.Set([]byte(keyVoteFor), []byte("a")); err == nil {
		t.Error("a vote was saved after a failed write")
	}
	if err := d.StoreLog(&raft.Log{Index: 58, Term: 9}); err == nil {
		t.Error("an entry was saved after a failed write")
	}
	if err := d.DeleteRange(50, 57); err == nil {
		t.Error("entries were deleted after a failed write")
	}
	if err := d.failure(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("failure is %v, want the first one", err)
	}
	var l raft.Log
	if err := d.GetLog(999, &l); err != nil || l.Type != raft.LogNoop {
		t.Errorf("reading an entry: got %+v, %v", l, err)
	}
	d.close()
	d = mustOpenDisk(t, path)
	defer d.close()
	if got := contents(t, d); got != want {
		t.Errorf("after the failure:\n%s\nwant\n%s", got, want)
	}
}

// A panic inside bbolt is an error of the write.
func TestDisk_panicIsAnError(t *testing.T) {
	d := mustOpenDisk(t, filepath.Join(t.TempDir(), diskFile))
	defer d.close()
	d.before = func(string) error { panic("page 7 already freed") }
	if err := d.StoreLog(&raft.Log{Index: 1}); err == nil || !strings.Contains(err.Error(), "already freed") {
		t.Errorf("got %v", err)
	}
}

// After an installed snapshot the log goes on behind it, also if a crash kept the old entries.
func TestDisk_entriesBeforeASnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), diskFile)
	d := mustOpenDisk(t, path)
	fill(t, d, 1, 10)
	saveSnapshot(t, d, 500, "{}")
	d.close()
	d = mustOpenDisk(t, path)
	fill(t, d, 501, 503)
	d.close()
	d = mustOpenDisk(t, path)
	defer d.close()
	if first, _ := d.FirstIndex(); first != 501 {
		t.Errorf("first entry is %d, want 501", first)
	}
	if err := d.StoreLog(&raft.Log{Index: 505}); err == nil {
		t.Error("a gap was stored")
	}
}
