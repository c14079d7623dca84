package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder fills a Config from YAML and notes everything that is wrong on the way, instead of stopping at the first.
type decoder struct {
	file     string
	problems Problems
	lines    map[string]int  // line of each key path that the file has
	bad      map[string]bool // key paths that have a problem: no second one is drawn from them
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, lines: map[string]int{}, bad: map[string]bool{}}
}

// problem notes what is wrong with a key, at the line of the key or of the section that lacks it.
func (d *decoder) problem(path, todo, format string, args ...any) {
	line := 0
	for at := path; at != "" && line == 0; at = parent(at) {
		line = d.lines[at]
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Key: path, What: fmt.Sprintf(format, args...), Todo: todo})
	d.bad[path] = true
}

// fine reports whether nothing is wrong with a key, what is in it or what it is in, so that its value may be judged.
func (d *decoder) fine(path string) bool {
	for bad := range d.bad {
		if within(bad, path) || within(path, bad) {
			return false
		}
	}
	return true
}

func within(inner, outer string) bool {
	rest, found := strings.CutPrefix(inner, outer)
	return found && (outer == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document parses the text into the one document that it must be.
func (d *decoder) document(text string) *yaml.Node {
	var doc, more yaml.Node
	reader := yaml.NewDecoder(strings.NewReader(text))
	err := reader.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	}
	if err == nil {
		if err = reader.Decode(&more); errors.Is(err, io.EOF) {
			return doc.Content[0]
		}
		if err == nil {
			d.lines["-"] = more.Line
			d.problems = append(d.problems, Problem{File: d.file, Line: more.Line, What: "a second document begins here", Todo: "remove the line ---"})
			return nil
		}
	}
	p := Problem{File: d.file, What: "this is not YAML: " + err.Error(), Todo: "look at this line and the one before it"}
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.What = "this is not YAML: " + m[2]
	}
	if strings.Contains(lineOf(text, p.Line), "{node}") {
		p.Todo = `inside {...} put a path with {node} in quotes: "/etc/{node}.key"`
	}
	if strings.Contains(p.What, "cannot start any token") {
		p.Todo = "indent with spaces, not tabs, and put text that begins with a special character in quotes"
	}
	d.problems = append(d.problems, p)
	return nil
}

func lineOf(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// value decodes a node into v, which has the given tag.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.problem(path, "write the value out where it belongs", "anchors and aliases are not read")
	case isScalar(v):
		d.scalar(n, path, v, tag)
	case v.Kind() == reflect.Struct:
		d.structure(n, path, v)
	case v.Kind() == reflect.Map:
		d.table(n, path, v, tag)
	case v.Kind() == reflect.Slice:
		d.list(n, path, v, tag)
	default:
		panic("no way to decode " + v.Type().String())
	}
}

// entries walks a mapping and hands out each key once. A section without content, as commenting it all out leaves it, has none.
func (d *decoder) entries(n *yaml.Node, path, needs string, each func(key, path string, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.problem(path, "write "+needs, "%s where a section belongs", found(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		first, again := seen[key.Value]
		if !again {
			d.lines[at] = key.Line
			seen[key.Value] = key.Line
		}
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			d.problems = append(d.problems, Problem{File: d.file, Line: key.Line, Key: path,
				What: "a key must be plain text; merge keys are not read", Todo: "write the keys out"})
			d.bad[path] = true
		case again:
			d.problems = append(d.problems, Problem{File: d.file, Line: key.Line, Key: at,
				What: fmt.Sprintf("given twice, first in line %d", first), Todo: "keep one of them"})
		default:
			each(key.Value, at, value)
		}
	}
}

func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	var misspelt []string
	d.entries(n, path, "its keys in lines of their own: "+strings.Join(keysOf(fields), ", "), func(key, at string, value *yaml.Node) {
		for _, f := range fields {
			if f.key == key {
				given[key] = true
				d.value(value, at, v.FieldByIndex(f.index), f.tag)
				return
			}
		}
		todo, meant := unknownKey(key, path, keysOf(fields))
		misspelt = append(misspelt, meant)
		d.problem(at, todo, "unknown key")
	})
	if !d.bad[path] { // else it could not be read, and whether something is missing cannot be known
		d.missing(fields, path, append(slices.Collect(maps.Keys(given)), misspelt...))
	}
}

// missing notes keys without default that are not there, also those of sections that are not there.
func (d *decoder) missing(fields []field, path string, given []string) {
	for _, f := range fields {
		at := join(path, f.key)
		switch {
		case slices.Contains(given, f.key):
		case f.tag.Get("need") != "":
			d.problem(at, needed(at), "missing")
		case f.section:
			d.missing(fieldsOf(f.kind), at, nil)
		}
	}
}

func (d *decoder) table(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(n, path, "one entry a line: NAME: {...}", func(key, at string, value *yaml.Node) {
		if what, todo := checkText(key, tag); what != "" {
			d.problem(at, todo, "%s", what)
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		if e, has := element.Addr().Interface().(interface{ setDefaults() }); has {
			e.setDefaults()
		}
		d.value(value, at, element, "")
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), element)
	})
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	command := tag.Get("is") == "command"
	if n.Kind != yaml.SequenceNode {
		d.problem(path, fmt.Sprintf("write [%q], or [] for none", n.Value), "%s where a list belongs", found(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		itemTag := tag
		if command {
			itemTag = `is:"line"`
			if i == 0 {
				itemTag = `is:"path"`
			}
		}
		d.value(item, at, items.Index(i), itemTag)
	}
	if len(n.Content) == 0 {
		items = reflect.Zero(v.Type())
	}
	v.Set(items)
}
