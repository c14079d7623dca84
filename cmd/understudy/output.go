package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// answer writes what a verb found: v with -o json, else the text for people.
func (a *app) answer(out *format, v any, text string) error {
	if out.value == "json" {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		text = string(b) + "\n"
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// drawTable draws the rows that fill gives, in columns that fit.
func drawTable(fill func(row func(cells ...string))) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fill(func(cells ...string) {
		for i := range cells {
			cells[i] = printable(cells[i])
		}
		_, _ = fmt.Fprintln(table, strings.Join(cells, "\t"))
	})
	_ = table.Flush() // a Builder takes everything
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
