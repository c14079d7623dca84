package metrics

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const alerts = "../../contrib/prometheus/alerts.yml"

// rules is a file of Prometheus rules.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

var (
	usedName    = regexp.MustCompile(`understudy_[a-z0-9_]+`)
	usedMatcher = regexp.MustCompile(`(understudy_[a-z0-9_]+)\{([^}]*)\}`)
	usedLabel   = regexp.MustCompile(`\$labels\.([a-z_]+)`)
	usedBy      = regexp.MustCompile(`(?:by|on) \(([a-z_, ]+)\)`)
)

// The alerting rules that we ship use no metric and no label that is not there.
func TestAlerts_useWhatIsThere(t *testing.T) {
	text, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	var file rules
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	known := described()
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || seen[rule.Alert] || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("%s %q: name, severity or summary is missing, or the name is there twice", group.Name, rule.Alert)
			}
			seen[rule.Alert] = true
			labels := []string{"instance", "job"}
			for _, name := range usedName.FindAllString(rule.Expr, -1) {
				if known[name] == nil {
					t.Errorf("%s: there is no %s", rule.Alert, name)
				}
				labels = append(labels, known[name]...)
			}
			for _, m := range usedMatcher.FindAllStringSubmatch(rule.Expr, -1) {
				label, _, _ := strings.Cut(m[2], "=")
				if !slices.Contains(known[m[1]], label) {
					t.Errorf("%s: %s has no label %s", rule.Alert, m[1], label)
				}
			}
			for _, m := range usedBy.FindAllStringSubmatch(rule.Expr, -1) {
				for _, label := range strings.Split(m[1], ", ") {
					if !slices.Contains(labels, label) {
						t.Errorf("%s: by the unknown label %s", rule.Alert, label)
					}
				}
			}
			words := rule.Labels["severity"]
			for _, a := range rule.Annotations {
				words += a
			}
			for _, m := range usedLabel.FindAllStringSubmatch(words, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("%s: tells the unknown label %s", rule.Alert, m[1])
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d rules were read", len(seen))
	}
}

// promtool checks the rules, and runs them against the series in alerts_test.yml.
func TestAlerts_promtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed: contrib/lab/setup.sh installs it")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = "../../contrib/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
