package config

import (
	"reflect"
	"strings"
	"time"
)

// Key is one value of the file, as Reference lists it.
type Key struct {
	Path     string   // consumers[].retry.tiers
	Type     string   // text, number, duration, size, ...
	Default  string   // as text; empty for none
	Choices  []string // empty if any value of the type will do
	Required bool
	Secret   bool
	Doc      string
}

// Reference lists every value of the file in the order of its sections.
func Reference() []Key { return reference("", reflect.TypeFor[Config]()) }

func reference(path string, t reflect.Type) []Key {
	var keys []Key
	for _, f := range fieldsOf(t) {
		p := child(path, f.key)
		inner := f.typ
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		section := inner.Kind() == reflect.Struct && !isScalar(inner)
		if !section || f.doc != "" {
			keys = append(keys, Key{
				Path: p, Type: typeName(f.typ), Default: f.defaultText, Choices: f.oneof,
				Required: f.required, Secret: f.secret != "", Doc: f.doc,
			})
		}
		if section {
			if f.typ.Kind() == reflect.Slice {
				p += "[]"
			}
			keys = append(keys, reference(p, inner)...)
		}
	}
	return keys
}

// field is one key of a section, read from a struct field's tags.
type field struct {
	key, defaultText, min, doc, secret string
	oneof                              []string
	required                           bool
	index                              int
	typ                                reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		fields = append(fields, field{
			key: f.Tag.Get("yaml"), defaultText: f.Tag.Get("default"), min: f.Tag.Get("min"), doc: f.Tag.Get("doc"),
			secret: f.Tag.Get("secret"), oneof: strings.Fields(f.Tag.Get("oneof")),
			required: f.Tag.Get("required") == "true", index: i, typ: f.Type,
		})
	}
	return fields
}

// typeName names a type for people.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Size]():
		return "size"
	case t == reflect.TypeFor[Start]():
		return "earliest, latest or a time"
	case t == reflect.TypeFor[Selector]():
		return "part of a record"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "mapping"
	case reflect.Struct:
		return "section"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	default:
		return "text"
	}
}
