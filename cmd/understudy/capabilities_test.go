package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of capabilities names tests that exist, and has a row for each capability from S4-05 to S4-54.
func TestCapabilities(t *testing.T) {
	text, err := os.ReadFile("../../supervisor/CAPABILITIES.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (S4-\d\d) \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != 54-5+1 {
		t.Errorf("%d rows, want %d", len(rows), 54-5+1)
	}
	sources := map[string]string{}
	for _, row := range rows {
		for part := range strings.SplitSeq(row[2], ";") {
			dir := strings.Fields(part)[0]
			if _, read := sources[dir]; !read {
				sources[dir] = testsIn(t, dir)
			}
			tests := regexp.MustCompile(`Test\w+`).FindAllString(part, -1)
			if len(tests) == 0 {
				t.Errorf("%s: %q names no test", row[1], part)
			}
			for _, name := range tests {
				if !strings.Contains(sources[dir], "func "+name+"(") {
					t.Errorf("%s: there is no %s in %s", row[1], name, dir)
				}
			}
		}
	}
}

func testsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
