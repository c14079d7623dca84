package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	File string
	Line int    // 1 is the first; 0: no line is to blame
	Key  string // path of the key: service-address.addresses[1]
	What string // what is wrong
	Todo string // what to write instead
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Todo != "" {
		b.WriteString("; " + p.Todo)
	}
	return printable(b.String())
}

// printable keeps what somebody wrote from playing with the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// Problems is everything that is wrong with a configuration, as one error.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// print writes one problem a line and a sum.
func (p Problems) print(w io.Writer) {
	_, _ = fmt.Fprintln(w, p.Error())
	if len(p) == 1 {
		_, _ = fmt.Fprintln(w, "1 problem; nothing of the file is used.")
		return
	}
	_, _ = fmt.Fprintf(w, "%d problems; nothing of the file is used.\n", len(p))
}

// sorted orders by line; what has no line comes last.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return p
}
