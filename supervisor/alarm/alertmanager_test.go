package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// A real Alertmanager with the example's configuration takes our alerts and ends them when we say so.
func TestAlertmanager_real(t *testing.T) {
	if _, err := exec.LookPath("prometheus-alertmanager"); err != nil {
		t.Fatal("prometheus-alertmanager is not installed: contrib/lab/setup.sh installs it")
	}
	if out, err := exec.Command(tool(t, "amtool"), "check-config", "../../contrib/alertmanager/alertmanager.yml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	base := startAlertmanager(t)
	p := newPush(Reaction{Name: "am", Limit: 10 * time.Second, Alertmanager: &Alertmanager{HTTP: HTTP{URL: base}}}, *testOptions())
	a := testAlarm()
	a.First = time.Now().Add(-time.Minute)
	p.states([]supervisor.Alarm{a}, nil)
	if err := p.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	var alerts []struct {
		Labels map[string]string `json:"labels"`
		Status struct {
			State string `json:"state"`
		} `json:"status"`
	}
	get := func() {
		alerts = nil
		r, err := http.Get(base + "/api/v2/alerts")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			t.Fatal(err)
		}
	}
	get()
	if len(alerts) != 1 || alerts[0].Labels["alertname"] != "nic-down" || alerts[0].Labels["object"] != "edge-a" {
		t.Fatalf("%+v", alerts)
	}
	a.ClearedAt = time.Now()
	p.states(nil, []supervisor.Alarm{a})
	if err := p.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if get(); len(alerts) != 0 {
		t.Errorf("still firing: %+v", alerts)
	}
}

func startAlertmanager(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	var said bytes.Buffer
	cmd := exec.Command(tool(t, "prometheus-alertmanager"), "--config.file=../../contrib/alertmanager/alertmanager.yml", "--storage.path="+t.TempDir(),
		"--web.listen-address="+address, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, up := make(chan struct{}), make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer close(up)
		for ctx.Err() == nil {
			if r, err := http.Get("http://" + address + "/-/ready"); err == nil {
				r.Body.Close()
				if r.StatusCode == http.StatusOK {
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	select {
	case <-up:
	case <-ended:
		cancel()
		<-up
		t.Fatalf("alertmanager ended: %s", said.String())
	}
	if ctx.Err() != nil {
		t.Fatal("alertmanager did not come up")
	}
	return "http://" + address
}
