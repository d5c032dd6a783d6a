package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/knadh/koanf/providers/env/v2"
)

const (
	// envPrefix starts the environment variables that override the file. A single underscore after LAYBY is for other
	// uses.
	envPrefix = "LAYBY__"
	envLevel  = "__"
	// pathSep separates the levels of a path for koanf. It can stand in no variable's name.
	pathSep = "\x00"
)

// overlay is the environment's layer over the file.
type overlay struct {
	report *report
	// names has the variable of each path that one sets, joined by pathSep.
	names map[string]string
}

func newOverlay(r *report) *overlay { return &overlay{report: r, names: map[string]string{}} }

// provider reads the variables of environ into nested maps; list items become keys that are numbers.
func (o *overlay) provider(environ []string) *env.Env {
	environ = slices.Clone(environ)
	slices.Sort(environ)
	return env.Provider(pathSep, env.Opt{
		Prefix:        envPrefix,
		EnvironFunc:   func() []string { return environ },
		TransformFunc: o.transform,
	})
}

// transform turns a variable into a path and a value. It returns an empty path for what it reports.
func (o *overlay) transform(name, text string) (string, any) {
	at := origin{env: name}
	levels := strings.Split(strings.TrimPrefix(name, envPrefix), envLevel)
	t := reflect.TypeFor[Config]()
	for i, level := range levels {
		key, next, complaint := step(t, level)
		if complaint != "" {
			o.report.failAt(at, "%s", complaint)
			return "", nil
		}
		levels[i], t = key, next
	}
	path := strings.Join(levels, pathSep)
	for other, otherName := range o.names {
		if other == path || strings.HasPrefix(path, other+pathSep) || strings.HasPrefix(other, path+pathSep) {
			o.report.failAt(at, "sets a part of what %s sets: keep one of them", otherName)
			return "", nil
		}
	}
	if !utf8.ValidString(text) {
		o.report.failAt(at, "is no UTF-8 text")
		return "", nil
	}
	o.names[path] = name
	return path, o.parse(at, text, t)
}

// parse reads a variable's text: a list or mapping may be YAML in brackets, a list also a comma list.
func (o *overlay) parse(at origin, text string, t reflect.Type) any {
	text = strings.TrimSpace(text)
	if !isScalar(t) && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) {
		inner := &tree{report: newReport(""), env: at.env}
		value := inner.parse("", []byte(text))
		o.report.problems = append(o.report.problems, inner.report.problems...)
		return value
	}
	return textValue(text, t)
}

// step finds the key and the type below a type that one level of a variable's name means.
func step(t reflect.Type, level string) (key string, next reflect.Type, complaint string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	key = strings.ToLower(level)
	switch {
	case t.Kind() == reflect.Slice:
		if i, err := strconv.Atoi(level); err != nil || i < 0 || strconv.Itoa(i) != level {
			return "", nil, strconv.Quote(level) + " is no index of a list: write its number, from 0"
		}
		return level, t.Elem(), ""
	case t.Kind() == reflect.Map:
		return key, t.Elem(), ""
	case isScalar(t):
		return "", nil, "sets something below a single value: nothing is called " + strconv.Quote(key) + " there"
	}
	var known []string
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return key, f.typ, ""
		}
		known = append(known, f.key)
	}
	return "", nil, strconv.Quote(key) + " " + unknownKey(key, known)
}

// merge lays the environment's values over the file's. It is koanf's merge function.
func (o *overlay) merge(src, dest map[string]any) error {
	o.section("", "", src, dest)
	return nil
}

func (o *overlay) section(path, levels string, src, dest map[string]any) {
	for _, key := range sortedKeys(src) {
		value, at := src[key], key
		for there := range dest { // keys of a mapping are matched without case
			if strings.EqualFold(there, key) {
				at = there
			}
		}
		if other := secretSibling[key]; other != "" && src[other] == nil {
			delete(dest, other)
			o.report.forget(child(path, other))
		}
		dest[at] = o.value(child(path, at), join(levels, key), value, dest[at])
	}
}

// value returns what stands at path after src was laid over old.
func (o *overlay) value(path, levels string, src, old any) any {
	if name, ok := o.names[levels]; ok { // this very value is set by a variable
		o.report.forget(path)
		o.report.origins[path] = origin{env: name}
		return src
	}
	below, _ := src.(map[string]any) // what no variable sets itself is a level on the way to one
	t := typeAt(levels)
	if t.Kind() == reflect.Slice {
		list, ok := old.([]any)
		if !ok && old != nil {
			o.report.fail(path, "want %s, not %s", wanted(t), describe(old))
		}
		return o.list(path, levels, below, slices.Clone(list))
	}
	section, ok := old.(map[string]any)
	if text, short := old.(string); short && shortKey(t) != "" {
		section, ok = map[string]any{shortKey(t): text}, true
	}
	if !ok {
		section = map[string]any{}
		if old != nil {
			o.report.fail(path, "want %s, not %s", wanted(t), describe(old))
		}
	}
	o.section(path, levels, below, section)
	return section
}

// list lays items over a list. An index one past the end adds an item.
func (o *overlay) list(path, levels string, src map[string]any, list []any) any {
	indexes := make([]int, 0, len(src))
	for key := range src {
		i, _ := strconv.Atoi(key) // step has checked it
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range indexes {
		key := strconv.Itoa(i)
		if i > len(list) {
			o.report.failAt(origin{env: o.anyName(join(levels, key))}, "there is no item %d: the list has %d; the next is number %d", i, len(list), len(list))
			continue
		}
		if i == len(list) {
			list = append(list, nil)
		}
		list[i] = o.value(item(path, i), join(levels, key), src[key], list[i])
	}
	return list
}

// anyName returns the first variable that sets the value at levels or one below.
func (o *overlay) anyName(levels string) string {
	var names []string
	for path, name := range o.names {
		if path == levels || strings.HasPrefix(path, levels+pathSep) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return envPrefix
	}
	return names[0]
}

// secretSibling is the other way to give a secret. A variable that sets one of them replaces the file's other one.
var secretSibling = map[string]string{
	"url": "url_file", "url_file": "url",
	"password": "password_file", "password_file": "password",
}

func join(levels, key string) string {
	if levels == "" {
		return key
	}
	return levels + pathSep + key
}

// typeAt returns the type of the value at levels, without its pointer. The levels exist: transform has checked them.
func typeAt(levels string) reflect.Type {
	t := reflect.TypeFor[Config]()
	for level := range strings.SplitSeq(levels, pathSep) {
		_, t, _ = step(t, level)
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
