package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/goccy/go-yaml"
)

// Print writes the effective configuration, defaults included, as YAML. Secrets are masked.
func Print(w io.Writer, c *Config) error {
	text, err := yaml.MarshalWithOptions(printed(reflect.ValueOf(c).Elem(), ""), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// printed turns a value into what yaml writes: sections in their order, short forms where there is one.
func printed(v reflect.Value, secret string) any {
	switch short := v.Interface().(type) {
	case Tier:
		if short.Attempts == 1 {
			return formatDuration(short.Delay)
		}
	case AfterDeadLetter:
		if len(short) == 1 {
			return string(short[defaultKey])
		}
	case Keep:
		if len(short) == 1 {
			return short.Default().String()
		}
	}
	switch {
	case v.Kind() == reflect.Pointer:
		return printed(v.Elem(), secret)
	case isScalar(v.Type()):
		return printedScalar(v, secret)
	}
	switch v.Kind() {
	case reflect.Struct:
		return printedSection(v)
	case reflect.Slice:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = printed(v.Index(i), secret)
		}
		return items
	default: // a map
		values := make(map[string]any, v.Len())
		for _, key := range v.MapKeys() {
			values[key.String()] = printed(v.MapIndex(key), secret)
		}
		return values
	}
}

func printedSection(v reflect.Value) yaml.MapSlice {
	section := yaml.MapSlice{}
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		inner := f.typ.Kind() == reflect.Struct && !isScalar(f.typ)
		if value.IsZero() && !inner && (f.defaultText == "" || f.secret != "") {
			continue // it was not written
		}
		section = append(section, yaml.MapItem{Key: f.key, Value: printed(value, f.secret)})
	}
	return section
}

func printedScalar(v reflect.Value, secret string) any {
	switch {
	case secret == "url":
		return maskURL(v.String())
	case secret != "":
		return Mask
	case v.Kind() == reflect.Int && v.Type() == reflect.TypeFor[int](), v.Kind() == reflect.Bool, v.Kind() == reflect.Float64:
		return v.Interface()
	}
	return textOf(v)
}

// textOf returns the text that would be read back as v.
func textOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return formatDuration(x)
	case Secret:
		return x.String()
	case fmt.Stringer:
		return x.String()
	case encoding.TextMarshaler:
		text, _ := x.MarshalText()
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}
