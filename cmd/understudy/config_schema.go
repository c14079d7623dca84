package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
)

// field is one key of a section.
type field struct {
	key     string
	index   []int
	tag     reflect.StructTag
	kind    reflect.Type
	section bool // it has keys of its own
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		section := f.Type.Kind() == reflect.Struct && !isScalar(reflect.New(f.Type).Elem())
		fields = append(fields, field{key: f.Tag.Get("key"), index: f.Index, tag: f.Tag, kind: f.Type, section: section})
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// schema lists the paths of all keys, NAME standing for any name: "nodes.NAME.address".
func schema() []string {
	var paths []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for _, f := range fieldsOf(t) {
			at := join(path, f.key)
			paths = append(paths, at)
			switch {
			case f.section:
				walk(f.kind, at)
			case f.kind.Kind() == reflect.Map:
				walk(f.kind.Elem(), at+".NAME")
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return paths
}

// unknownKey says what somebody may have meant by a key that there is not: a key of the same section that is spelled nearly so, the
// section in which that very key has its place, or else all keys of this section.
func unknownKey(key, path string, here []string) (todo, meant string) {
	if near, ok := nearest(key, here); ok {
		return fmt.Sprintf("did you mean %s?", near), near
	}
	for _, at := range schema() {
		if strings.HasSuffix(at, "."+ourSpelling(key)) {
			return "its place is " + at, ""
		}
	}
	if path == "" {
		return "the keys are " + strings.Join(here, ", "), ""
	}
	return fmt.Sprintf("the keys of %s are %s", path, strings.Join(here, ", ")), ""
}

// ourSpelling turns the spelling of other programs' files into ours.
func ourSpelling(key string) string { return strings.ReplaceAll(strings.ToLower(key), "_", "-") }

// needed says what to write for a key without default.
func needed(path string) string {
	last := path[strings.LastIndex(path, ".")+1:]
	if example, ok := map[string]string{
		"version":     "version: 1",
		"cluster":     "cluster: NAME, the same on all hosts; it keeps strangers out",
		"nodes":       "nodes: with two members and one witness",
		"address":     `address: "IP:PORT", where the other nodes reach it`,
		"addresses":   "addresses: [203.0.113.10/32], what the phones and trunks use",
		"sip-address": "sip-address: IP, where its SIP server listens",
		"interface":   "interface: NAME, where the service address is put up",
	}[last]; ok {
		return "write " + example
	}
	return "write it"
}

// text writes a scalar as the file has it.
func text(v reflect.Value) string {
	if a, ok := v.Interface().(netip.Addr); ok {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprint(v.Interface())
}
