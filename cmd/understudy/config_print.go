package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-sip/understudy/supervisor"
)

// yaml writes the configuration with every default, so that it reads back as the same configuration.
func (c Config) yaml() (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(nodeOf(reflect.ValueOf(c), c)); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return out.String(), nil
}

// nodeOf gives a value as YAML: sections as blocks, lists and nodes in one line.
func nodeOf(v reflect.Value, c Config) *yaml.Node {
	switch {
	case isScalar(addressable(v)):
		return scalarNode(v)
	case v.Kind() == reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			list.Content = append(list.Content, nodeOf(v.Index(i), c))
		}
		return list
	case v.Kind() == reflect.Map:
		table := &yaml.Node{Kind: yaml.MappingNode}
		if v.Len() == 0 {
			table.Style = yaml.FlowStyle
		}
		for _, name := range namesIn(v, c) {
			entry := nodeOf(v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key())), c)
			entry.Style = yaml.FlowStyle
			table.Content = append(table.Content, keyNode(name), entry)
		}
		return table
	default:
		section := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fieldsOf(v.Type()) {
			value := v.FieldByIndex(f.index)
			if leftOut(f, value) {
				continue
			}
			section.Content = append(section.Content, keyNode(f.key), nodeOf(value, c))
		}
		return section
	}
}

// namesIn are the names in a table, nodes in their own order.
func namesIn(v reflect.Value, c Config) []string {
	if v.Type() == reflect.TypeFor[map[supervisor.NodeID]Voter]() {
		return toStrings(c.names())
	}
	var names []string
	for _, k := range v.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

// leftOut: what has no default and was not given can't be written: there is no text for "no address".
func leftOut(f field, v reflect.Value) bool {
	switch f.key {
	case "node", "sip-address", "sip-nic-address", "interface", "hep", "gateway", "listen", "register",
		"password-file", "secret-file", "rest-password-file", "credentials-file":
		return v.IsZero()
	}
	return false
}

func keyNode(key string) *yaml.Node {
	return scalarNode(reflect.ValueOf(key))
}

func scalarNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text(v)}
	switch v.Kind() {
	case reflect.Bool:
		n.Tag = "!!bool"
	case reflect.Int:
		n.Tag = "!!int"
	default:
		n.SetString(text(v)) // quotes what would be read as something else
	}
	return n
}

func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	a := reflect.New(v.Type()).Elem()
	a.Set(v)
	return a
}

// hash is what nodes compare to see that they have the same configuration: the first 12 hexadecimal digits of the SHA-256 of all its
// effective values, one "path = value" a line, without `node`. It does not depend on how the file is written.
func (c Config) hash() string {
	c.Node = ""
	var lines []string
	flatten(reflect.ValueOf(c), "", &lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

func flatten(v reflect.Value, path string, lines *[]string) {
	switch {
	case isScalar(addressable(v)):
		*lines = append(*lines, path+" = "+strconv.Quote(text(v)))
	case v.Kind() == reflect.Slice:
		*lines = append(*lines, fmt.Sprintf("%s = %d items", path, v.Len()))
		for i := range v.Len() {
			flatten(v.Index(i), fmt.Sprintf("%s[%d]", path, i), lines)
		}
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			flatten(v.MapIndex(key), join(path, key.String()), lines)
		}
	default:
		for _, f := range fieldsOf(v.Type()) {
			flatten(v.FieldByIndex(f.index), join(path, f.key), lines)
		}
	}
}
