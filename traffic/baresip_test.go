package traffic

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// baresipRegisters has so many accounts of one phone register and, at its end, unregister; it gives how many messages the phone says that
// it has sent.
func baresipRegisters(t *testing.T, h far, transport string, accounts int) uint64 {
	t.Helper()
	path, err := exec.LookPath("baresip")
	if err != nil {
		t.Fatal("baresip is not installed: contrib/lab/setup.sh installs it")
	}
	dir := t.TempDir()
	var list strings.Builder
	for i := range accounts {
		fmt.Fprintf(&list, "<sip:phone%d@%s;transport=%s>;auth_pass=none;regint=600\n", i, here4, transport)
	}
	for name, text := range map[string]string{
		"accounts": list.String(), "contacts": "",
		"config": "poll_method epoll\nsip_listen " + there4 + ":5060\nmodule_path /usr/lib/baresip/modules\nmodule_app account.so\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	cmd := exec.Command(path, "-f", dir, "-s", "-t", "3") // shows messages; ends after 3 s
	cmd.Stdout = &out
	launch(t, &h, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("baresip: %v\n%s", err, &out)
	}
	sent := regexp.MustCompile(`(?m)^(UDP|TCP) ` + regexp.QuoteMeta(there4) + `:\d+ -> ` + regexp.QuoteMeta(here4) + `:5060\r?$`)
	return uint64(len(sent.FindAllIndex(out.Bytes(), -1)))
}
