package status

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// situations are pairs in trouble, by name; TestBuild_sentences keeps what is said about each in a golden file.
func situations() map[string]Input {
	all := map[string]Input{"healthy": healthy()}
	add := func(name string, f func(in *Input)) {
		in := healthy()
		f(&in)
		all[name] = in
	}
	add("backup's server dead", func(in *Input) {
		change(*in, "edge-b", func(h *Heard) {
			h.Ready, h.Reasons = false, []supervisor.Reason{supervisor.ReasonServerDead}
			h.Server = supervisor.View{Class: supervisor.ClassDead, Text: "refused"}
		})
	})
	add("both servers dead", func(in *Input) {
		for _, id := range []supervisor.NodeID{"edge-a", "edge-b"} {
			change(*in, id, func(h *Heard) {
				h.Ready, h.Reasons = false, []supervisor.Reason{supervisor.ReasonServerHung, supervisor.ReasonSIPNIC}
				h.Server = supervisor.View{Class: supervisor.ClassDead, Text: "no answer for 350ms"}
			})
		}
	})
	add("witness silent", func(in *Input) { change(*in, "wit-1", func(h *Heard) { h.Age = 754 * time.Second }) })
	add("witness just started", func(in *Input) { change(*in, "wit-1", func(h *Heard) { h.State = supervisor.Starting }) })
	add("backup never heard", func(in *Input) { delete(in.Reports, "edge-b") })
	add("primary dead, not yet replaced", func(in *Input) {
		in.Self = "edge-b"
		change(*in, "edge-a", func(h *Heard) { h.Age = 3 * time.Second })
		change(*in, "edge-b", func(h *Heard) { h.Age = 0 })
	})
	add("alone", func(in *Input) {
		in.Self, in.Leader = "edge-b", ""
		delete(in.Reports, "wit-1")
		change(*in, "edge-a", func(h *Heard) { h.Age = time.Hour })
		change(*in, "edge-b", func(h *Heard) { h.Age = 0 })
	})
	add("clinging", func(in *Input) {
		delete(in.Reports, "wit-1")
		delete(in.Reports, "edge-b")
		in.Leader = ""
		change(*in, "edge-a", func(h *Heard) { h.State, h.LeaseLeft = supervisor.Clinging, 0 })
	})
	add("first start", func(in *Input) {
		in.Record = supervisor.Record{}
		for _, id := range []supervisor.NodeID{"edge-a", "edge-b"} {
			change(*in, id, func(h *Heard) {
				h.State, h.Epoch, h.Ready, h.LeaseLeft = supervisor.Vacant, 0, false, 0
				h.Reasons = []supervisor.Reason{supervisor.ReasonServerStart}
				h.Server = supervisor.View{Class: supervisor.ClassUnknown}
			})
		}
	})
	add("paused, budget spent", func(in *Input) {
		in.Record.Paused = supervisor.Pause{Until: noon.Add(38 * time.Minute), Reason: "kernel update", By: "ann (root)"}
		for i := range 4 {
			in.Record.History = append(in.Record.History, supervisor.Switchover{Epoch: supervisor.Epoch(42 + i),
				At: noon.Add(time.Duration(i-50) * time.Minute), From: "edge-a", To: "edge-b", Trigger: supervisor.TriggerPath})
		}
	})
	add("disagreement", func(in *Input) {
		change(*in, "edge-b", func(h *Heard) { h.ConfigHash, h.Version, h.Fence = "0000c2a0b1d4", "0.2.0", supervisor.FenceNone })
		change(*in, "wit-1", func(h *Heard) { h.Epoch = 40 })
		change(*in, "edge-a", func(h *Heard) { h.Fence = supervisor.FenceLifetime })
	})
	add("one-way loss", func(in *Input) {
		dead := supervisor.View{Class: supervisor.ClassDead, Text: "no answer for 350ms"}
		for _, id := range []supervisor.NodeID{"edge-b", "wit-1"} {
			change(*in, id, func(h *Heard) { h.Service, h.Members["edge-a"] = dead, dead })
		}
	})
	add("two primaries", func(in *Input) {
		change(*in, "edge-b", func(h *Heard) { h.State, h.Epoch = supervisor.Serving, 42 })
	})
	add("no raft leader", func(in *Input) { in.Leader = "" })
	add("standing", func(in *Input) {
		change(*in, "edge-a", func(h *Heard) { h.State, h.LeaseLeft = supervisor.Standing, 0 })
	})
	return all
}

// What people read about each situation, and the exit code that monitoring sees.
func TestBuild_sentences(t *testing.T) {
	for name, in := range situations() {
		t.Run(name, func(t *testing.T) {
			s := Build(in)
			var text strings.Builder
			text.WriteString(string(s.Verdict) + "\n")
			for _, p := range s.Problems {
				text.WriteString("problem: " + p + "\n")
			}
			for _, n := range s.Notes {
				text.WriteString("note: " + n + "\n")
			}
			golden(t, strings.NewReplacer(" ", "-", "'", "", ",", "").Replace(name)+".txt", text.String())
		})
	}
}

// The document's keys and their order are what programs rely on.
func TestBuild_document(t *testing.T) {
	in := situations()["paused, budget spent"]
	text, err := json.MarshalIndent(Build(in), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "document.json", string(text)+"\n")
	first, err := json.MarshalIndent(Build(situations()["first start"]), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "document-first.json", string(first)+"\n")
}

// Exit codes as Nagios reads them, an unknown verdict never being good.
func TestVerdict_ExitCode(t *testing.T) {
	for verdict, want := range map[Verdict]int{VerdictGood: 0, VerdictDegraded: 1, VerdictNoPrimary: 2, "": 2, "new": 2} {
		if got := verdict.ExitCode(); got != want {
			t.Errorf("%q: got %d, want %d", verdict, got, want)
		}
	}
}

// A pause alone makes the verdict degraded: monitoring shall see that nobody would take over.
func TestJudge_paused(t *testing.T) {
	s := Build(healthy())
	s.Paused = &supervisor.Pause{}
	if got, want := Judge(s), VerdictDegraded; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 340 * time.Millisecond: "340ms", 2100 * time.Millisecond: "2.1s", 3 * time.Second: "3s",
		59 * time.Second: "59s", 38 * time.Minute: "38m", 90 * time.Second: "1m 30s", 245 * time.Minute: "4h 5m", 28 * time.Hour: "1d 4h",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
