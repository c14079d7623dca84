package lab

import (
	"testing"
	"time"
)

func TestKeepalived_tuned(t *testing.T) {
	l := newLab(t, Kamailio)
	for _, s := range []Supervisor{KeepalivedTuned(), KeepalivedPublished()} {
		if err := l.Supervise(s); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitHealthy(timeout(t, 20*time.Second)); err != nil {
			for _, h := range Members() {
				for _, p := range s.Sidecar(h) {
					t.Log(p.logTail())
				}
			}
			t.Fatal(err)
		}
		t.Log(s.Name(), l.Primary())
	}
}
