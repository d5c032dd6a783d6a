package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills structs from a tree of text, adds the defaults and checks what the tags say. It goes on after a
// problem, so that all of them are reported.
type decoder struct{ report *report }

// value sets out to what stands at path.
func (d *decoder) value(path string, data any, out reflect.Value) {
	t := out.Type()
	if t.Kind() == reflect.Pointer {
		if data == nil { // tls: with nothing behind it is an empty section
			data = map[string]any{}
		}
		out.Set(reflect.New(t.Elem()))
		d.value(path, data, out.Elem())
		return
	}
	data = longForm(data, t)
	switch v := data.(type) {
	case string:
		if isScalar(t) {
			d.scalar(path, v, out)
			return
		}
	case map[string]any:
		if t.Kind() == reflect.Struct && !isScalar(t) {
			d.section(path, v, out)
			return
		}
		if t.Kind() == reflect.Map {
			d.mapping(path, v, out)
			return
		}
	case []any:
		if t.Kind() == reflect.Slice {
			d.list(path, v, out)
			return
		}
	}
	d.report.fail(path, "want %s, not %s", wanted(t), describe(data))
}

// section fills a struct. Keys that are not there get their default.
func (d *decoder) section(path string, data map[string]any, out reflect.Value) {
	fields := fieldsOf(out.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	for _, key := range sortedKeys(data) {
		if !slices.Contains(known, key) {
			d.report.failKey(child(path, key), "%s", unknownKey(key, known))
		}
	}
	for _, f := range fields {
		p, target := child(path, f.key), out.Field(f.index)
		value, ok := data[f.key]
		switch {
		case ok && (value != nil || f.typ.Kind() == reflect.Pointer):
			d.value(p, value, target)
		case f.defaultText != "":
			d.value(p, textValue(f.defaultText, f.typ), target)
		case f.typ.Kind() == reflect.Struct && !isScalar(f.typ):
			d.section(p, nil, target)
		}
		d.checkTags(p, f, target, ok)
	}
}

// checkTags checks what a field's tags demand. written says that the value was not left out.
func (d *decoder) checkTags(path string, f field, v reflect.Value, written bool) {
	if !d.report.ok(path) {
		return
	}
	switch {
	case f.required && isEmpty(v) && (!written || f.min == ""):
		d.report.fail(path, "is required: %s", f.doc)
	case len(f.oneof) > 0 && v.Kind() == reflect.String && !v.IsZero():
		d.checkChoice(path, v.String(), f.oneof)
	case len(f.oneof) > 0 && v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			d.checkChoice(child(path, key.String()), v.MapIndex(key).String(), f.oneof)
		}
	case f.min != "":
		least := reflect.New(v.Type()).Elem()
		d.scalar(path, f.min, least)
		if v.Int() < least.Int() {
			d.report.fail(path, "%s is too low: write %s or more", textOf(v), f.min)
		}
	}
}

func isEmpty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

func (d *decoder) checkChoice(path, value string, choices []string) {
	if slices.Contains(choices, value) {
		return
	}
	if word := nearest(value, choices); word != "" && len(value) < longestName {
		d.report.fail(path, "%q is no choice: did you mean %s? Write %s", value, word, quoteChoices(choices))
		return
	}
	d.report.fail(path, "%q is no choice: write %s", value, quoteChoices(choices))
}

func (d *decoder) list(path string, data []any, out reflect.Value) {
	out.Set(reflect.MakeSlice(out.Type(), len(data), len(data)))
	for i := range data {
		d.value(item(path, i), data[i], out.Index(i))
	}
}

func (d *decoder) mapping(path string, data map[string]any, out reflect.Value) {
	out.Set(reflect.MakeMapWithSize(out.Type(), len(data)))
	for _, key := range sortedKeys(data) {
		value := reflect.New(out.Type().Elem()).Elem()
		d.value(child(path, key), data[key], value)
		out.SetMapIndex(reflect.ValueOf(key), value)
	}
}

// scalar reads a text as what its type says.
func (d *decoder) scalar(path, text string, out reflect.Value) {
	if u, ok := out.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			d.report.fail(path, "%v", err)
		}
		return
	}
	if out.Type() == reflect.TypeFor[time.Duration]() {
		v, err := parseDuration(text)
		if err != nil {
			d.report.fail(path, "%v", err)
		}
		out.SetInt(int64(v))
		return
	}
	switch out.Kind() {
	case reflect.String:
		out.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.report.fail(path, "%q is neither true nor false", text)
		}
		out.SetBool(text == "true")
	case reflect.Int:
		v, err := strconv.Atoi(text)
		if err != nil {
			d.report.fail(path, "%q is no whole number", text)
		}
		out.SetInt(int64(v))
	case reflect.Float64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			d.report.fail(path, "%q is no number", text)
		}
		out.SetFloat(v)
	default:
		d.report.fail(path, "has the unsupported type %s", out.Type())
	}
}

// isScalar says that values of a type are written as one text.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	default:
		return true
	}
}

// longForm expands the short form of a value that can be written as one text: a tier's delay, what holds for every event
// type.
func longForm(data any, t reflect.Type) any {
	switch v := data.(type) {
	case string:
		if key := shortKey(t); key != "" {
			return map[string]any{key: v}
		}
	case map[string]any:
		if _, ok := v[defaultKey]; !ok && otherwise(t) != "" {
			v = maps.Clone(v)
			v[defaultKey] = otherwise(t)
			return v
		}
	}
	return data
}

// shortKey is the key that a text stands for where a type's long form is a mapping; empty for other types.
func shortKey(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Tier]():
		return "delay"
	}
	if otherwise(t) != "" {
		return defaultKey
	}
	return ""
}

// otherwise is what a mapping by event type says of the types that it does not name; empty for other mappings.
func otherwise(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[AfterDeadLetter]():
		return string(Hold)
	case reflect.TypeFor[Keep]():
		return defaultKeep
	}
	return ""
}

// textValue turns a text that is not YAML (a default, an environment variable) into a value: lists are comma lists.
func textValue(text string, t reflect.Type) any {
	if t.Kind() != reflect.Slice || isScalar(t) {
		return text
	}
	var values []any
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values
}

// wanted says what a value of a type looks like.
func wanted(t reflect.Type) string {
	switch {
	case shortKey(t) != "":
		return "a text or a mapping"
	case t.Kind() == reflect.Slice:
		return "a list such as [a, b]"
	case t.Kind() == reflect.Map:
		return "keys with values"
	case t.Kind() == reflect.Struct && !isScalar(t):
		fields := fieldsOf(t)
		return fmt.Sprintf("a section with keys such as %s", fields[0].key)
	}
	return "a " + typeName(t)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
