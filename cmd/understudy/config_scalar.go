package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

var (
	scalarType = reflect.TypeFor[scalar]()
	addrType   = reflect.TypeFor[netip.Addr]()
)

// isScalar reports whether a value is written as one piece of text.
func isScalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.String:
		return true
	default:
		return v.Type() == addrType || v.Addr().Type().Implements(scalarType)
	}
}

// found says what somebody wrote, for the sentence that it is not what belongs there.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	default:
		return strconv.Quote(n.Value)
	}
}

func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.problem(path, "write it as one value; what begins with [ or { needs quotes", "%s where one value belongs", found(n))
		return
	}
	if n.ShortTag() == "!!null" {
		d.problem(path, "give a value or remove the line", "no value")
		return
	}
	if err := setScalar(n, v, tag); err != nil {
		var w *valueError
		errors.As(err, &w)
		d.problem(path, w.todo, "%s", w.what)
	}
}

// setScalar decodes one piece of text; its errors are *valueError.
func setScalar(n *yaml.Node, v reflect.Value, tag reflect.StructTag) error {
	switch {
	case v.Type() == addrType:
		a, err := parseAddr(n.Value)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(a))
		return nil
	case v.Addr().Type().Implements(scalarType):
		if err := v.Addr().Interface().(scalar).parse(n.Value); err != nil {
			return err
		}
		return checkDuration(v, tag)
	case v.Kind() == reflect.Bool:
		if n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
			return wrong("write true or false", "%s is neither true nor false", found(n))
		}
		v.SetBool(n.Value == "true")
		return nil
	case v.Kind() == reflect.Int:
		return setInt(n, v, tag)
	default:
		return setString(n, v, tag)
	}
}

func setInt(n *yaml.Node, v reflect.Value, tag reflect.StructTag) error {
	number, err := strconv.Atoi(n.Value)
	if err != nil || n.ShortTag() != "!!int" {
		return wrong("write a whole number, without quotes", "%s is not a number", quoted(n))
	}
	low, _ := strconv.Atoi(tag.Get("min"))
	high, _ := strconv.Atoi(tag.Get("max"))
	switch {
	case low == high && number != low:
		return wrong(fmt.Sprintf("this understudy reads %d", low), "%d is unknown", number)
	case number < low || number > high:
		return wrong(fmt.Sprintf("%d to %d are possible", low, high), "%d is out of range", number)
	}
	v.SetInt(int64(number))
	return nil
}

func quoted(n *yaml.Node) string {
	if n.ShortTag() == "!!str" {
		return strconv.Quote(n.Value)
	}
	return n.Value
}

func setString(n *yaml.Node, v reflect.Value, tag reflect.StructTag) error {
	if words := tag.Get("oneof"); words != "" {
		if err := checkWord(n.Value, strings.Fields(words)); err != nil {
			return err
		}
	}
	if n.ShortTag() != "!!str" {
		return wrong(fmt.Sprintf("if it is meant as text, put it in quotes: %q", n.Value), "%s where text belongs", found(n))
	}
	if what, todo := checkText(n.Value, tag); what != "" {
		return &valueError{what, todo}
	}
	v.SetString(n.Value)
	return nil
}

func checkWord(written string, words []string) error {
	if slices.Contains(words, written) {
		return nil
	}
	list := strings.Join(words, ", ")
	if near, ok := nearest(written, words); ok {
		return wrong(fmt.Sprintf("did you mean %s?", near), "%q is none of %s", written, list)
	}
	return wrong("choose one", "%q is none of %s", written, list)
}

func checkDuration(v reflect.Value, tag reflect.StructTag) error {
	if v.Type() != reflect.TypeFor[Duration]() || tag.Get("max") == "" {
		return nil
	}
	var low, high Duration
	if err := errors.Join(low.parse(tag.Get("min")), high.parse(tag.Get("max"))); err != nil {
		panic(err) // the schema itself
	}
	if got := Duration(v.Int()); got < low || got > high {
		return wrong(fmt.Sprintf("%s to %s are possible", low, high), "%s is out of range", got)
	}
	return nil
}

var (
	namePattern      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	interfacePattern = regexp.MustCompile(`^[^\s/:]{1,15}$`)
	bracesPattern    = regexp.MustCompile(`\{[^}]*\}?`)
)

// checkText says what is wrong with a string of the kind that its tag names, and what to write; nothing if it is right.
func checkText(text string, tag reflect.StructTag) (what, todo string) {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("%q contains a character that cannot be printed", text), "remove it"
		}
	}
	switch tag.Get("is") {
	case "name":
		if !namePattern.MatchString(text) {
			return fmt.Sprintf("%q is not a name", text), "use a-z, 0-9 and -, not at the ends, at most 63 characters"
		}
	case "interface":
		if !interfacePattern.MatchString(text) || text == "." || text == ".." {
			return fmt.Sprintf("%q is not the name of an interface", text), "`ip link` shows them: 1 to 15 characters without blanks, / and :"
		}
	case "path":
		return checkPath(text)
	}
	return "", ""
}

func checkPath(text string) (what, todo string) {
	for _, braces := range bracesPattern.FindAllString(text, -1) {
		if braces != "{node}" {
			return fmt.Sprintf("%s in %q means nothing", braces, text), "only {node} is replaced, by the node's name"
		}
	}
	if !filepath.IsAbs(text) {
		return fmt.Sprintf("%q is not an absolute path", text), "begin it with /"
	}
	return "", ""
}
