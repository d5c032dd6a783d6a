package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// TestThePageOfTheConfigurationIsUpToDate: docs/configuration.md is what the code says. go test ./config -update writes it.
func TestThePageOfTheConfigurationIsUpToDate(t *testing.T) {
	const page = "../docs/configuration.md"
	want := referencePage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the code says: write it anew with go test ./config -update", page)
	}
}

// referencePage has a section for each part of the file, with a row for each key.
func referencePage() string {
	var b strings.Builder
	b.WriteString(`# Configuration

One YAML file, ` + "`layby.yaml`" + ` or what ` + "`-c`" + ` names. ` + "`layby config validate`" + ` says all that is wrong with it at once, with file and line,
` + "`layby config print`" + ` shows it with all defaults, and ` + "`layby config reference`" + ` is this page for a terminal. An environment variable
overrides any value, two underscores a level, list items by their number: ` + "`LAYBY__CONSUMERS__0__WORKERS=128`" + `. Durations are
written as ` + "`500ms`, `10s`, `1h30m`" + `, sizes as ` + "`64MiB`" + `.

This page is made from the code.
`)
	section := "-"
	for _, k := range Reference() {
		part := sectionOf(k.Path)
		if part != section {
			section = part
			title := "`" + section + "`"
			if section == "" {
				title = "The process"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| key | type | default | |\n| --- | --- | --- | --- |\n", title)
		}
		kind := k.Type
		if len(k.Choices) > 0 {
			kind = strings.Join(k.Choices, ", ")
		}
		value := "`" + k.Default + "`"
		switch {
		case k.Required:
			value = "required"
		case k.Default == "":
			value = ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.TrimPrefix(strings.TrimPrefix(k.Path, section), "."), cell(kind), cell(value), cell(k.Doc))
	}
	return b.String()
}

// sectionOf is the first level of a key; routes are a section of their own.
func sectionOf(path string) string {
	const routes = "consumers[].routes[]"
	first, _, nested := strings.Cut(path, ".")
	switch {
	case strings.HasPrefix(path, routes):
		return routes
	case nested:
		return first
	}
	return ""
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }
