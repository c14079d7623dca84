package raftstore

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killedEnv makes the test binary a writer that is to be killed.
const killedEnv = "RAFTSTORE_KILLED_WRITER"

// TestMain runs the writer of TestDisk_killedAnywhere in the processes that it starts.
func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// writeUntilKilled appends entries and, before each, notes in a second file how many are durable.
func writeUntilKilled(path string) {
	d, err := openDisk(path)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	note, err := os.OpenFile(path+".durable", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		os.Exit(1)
	}
	t := &fatal{}
	for i := d.lastIndex() + 1; ; i++ {
		fill(t, d, i, i)
		_ = d.SetUint64([]byte(keyTerm), i)
		_, _ = note.Write([]byte{1})
		if i%20 == 0 {
			saveSnapshot(t, d, i-5, strings.Repeat("x", int(i%3000)))
			_ = d.DeleteRange(1, i-10)
		}
	}
}

// fatal ends the writer.
type fatal struct{ testing.TB }

func (*fatal) Helper()      {}
func (*fatal) Fatal(...any) { os.Exit(1) }

// A process that is killed -9 at any moment leaves a store that opens with everything that was durable.
func TestDisk_killedAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), diskFile)
	random := rand.New(rand.NewPCG(3, 4))
	written := int64(0)
	for range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the writer writes", func() bool { return size(path+".durable") > written })
		time.Sleep(time.Duration(random.IntN(30_000)) * time.Microsecond) // wherever that is
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		d, err := openDisk(path)
		if err != nil {
			t.Fatal(err)
		}
		durable := uint64(size(path + ".durable"))
		if d.lastIndex() < durable || d.lastIndex() > durable+1 {
			t.Fatalf("last entry is %d, %d were durable", d.lastIndex(), durable)
		}
		written = int64(d.lastIndex())
		d.close()
		if err := os.Truncate(path+".durable", written); err != nil { // one more, if it was killed between an entry and its note
			t.Fatal(err)
		}
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
