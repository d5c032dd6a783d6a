package docs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Pictures are flowcharts and sequences of Mermaid, in the part of its language that this file knows, which is small enough to
// be read line by line and has no forms that one version of Mermaid reads and another doesn't: every label is quoted.
const (
	flowName  = `[a-z][A-Za-z0-9]*`
	flowLabel = "\"[^\"<>#`]+\""
)

var (
	flowNode = regexp.MustCompile(`^(` + flowName + `)(?:\[` + flowLabel + `\]|\(\[` + flowLabel + `\]\)|\[\(` + flowLabel + `\)\]|\{` + flowLabel + `\})$`)
	flowEdge = regexp.MustCompile(`^(` + flowName + `) (?:-->|-\.->|==>)(?:\|` + flowLabel + `\|)? (` + flowName + `)$`)
	flowSub  = regexp.MustCompile(`^subgraph ` + flowName + `\[` + flowLabel + `\]$`)

	seqActor   = regexp.MustCompile(`^participant (` + flowName + `) as [\w ]+$`)
	seqMessage = regexp.MustCompile(`^(` + flowName + `)(?:->>|-->>)(` + flowName + `): [^;#]+$`)
	seqNote    = regexp.MustCompile(`^Note over (` + flowName + `)(?:,(` + flowName + `))?: [^;#]+$`)
)

// words are those that Mermaid takes for its own where a name could stand.
var words = []string{
	"end", "graph", "flowchart", "subgraph", "style", "class", "click", "default", "direction", "call", "href",
	"participant", "actor", "note", "loop", "alt", "else", "opt", "par", "and", "rect", "critical", "option", "break", "box", "title", "link", "links",
}

// pictures parses a page's pictures and claims them.
func pictures(t *testing.T, p *page) {
	for _, b := range p.blocks {
		if b.language != "mermaid" {
			continue
		}
		b.claimed = true
		if err := parse(b.text); err != nil {
			t.Errorf("%s:%d: the picture does not parse: %v", p.name, b.line, err)
		}
	}
}

// parse reads a picture.
func parse(text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	kind := strings.TrimSpace(lines[0])
	read := flow
	switch kind {
	case "flowchart LR", "flowchart TD":
	case "sequenceDiagram":
		read = sequence
	default:
		return fmt.Errorf("%q is no kind of picture", kind)
	}
	if len(lines) < 2 {
		return fmt.Errorf("an empty %s", kind)
	}
	return read(lines[1:])
}

// known says which of some names were not declared.
func known(names map[string]bool, line string, used ...string) error {
	for _, name := range used {
		if name != "" && !names[name] {
			return fmt.Errorf("%s: nothing is called %s", line, name)
		}
	}
	return nil
}

// flow reads the lines of a flowchart: nodes first, then arrows between them.
func flow(lines []string) error {
	names, depth := map[string]bool{}, 0
	for _, line := range lines {
		line = strings.TrimSpace(line)
		switch {
		case flowSub.MatchString(line):
			depth++
		case line == "end":
			depth--
		case flowNode.MatchString(line):
			name := flowNode.FindStringSubmatch(line)[1]
			if names[name] || slices.Contains(words, name) {
				return fmt.Errorf("%s: the name is taken", line)
			}
			names[name] = true
		case flowEdge.MatchString(line):
			m := flowEdge.FindStringSubmatch(line)
			if err := known(names, line, m[1], m[2]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q", line)
		}
		if depth < 0 {
			return errors.New("end of nothing")
		}
	}
	if depth != 0 {
		return errors.New("a subgraph without an end")
	}
	return nil
}

// sequence reads the lines of a sequence: participants, then messages between them.
func sequence(lines []string) error {
	names := map[string]bool{}
	for _, line := range lines {
		line = strings.TrimSpace(line)
		var used []string
		switch {
		case seqActor.MatchString(line):
			name := seqActor.FindStringSubmatch(line)[1]
			if names[name] || slices.Contains(words, name) {
				return fmt.Errorf("%s: the name is taken", line)
			}
			names[name] = true
		case seqMessage.MatchString(line):
			used = seqMessage.FindStringSubmatch(line)[1:]
		case seqNote.MatchString(line):
			used = seqNote.FindStringSubmatch(line)[1:]
		default:
			return fmt.Errorf("%q", line)
		}
		if err := known(names, line, used...); err != nil {
			return err
		}
	}
	return nil
}

func TestAPictureThatDoesNotParseIsFound(t *testing.T) {
	for text, want := range map[string]bool{
		"flowchart LR\n  a[\"one\"]\n  b([\"two\"])\n  a -->|\"to\"| b":       true,
		"flowchart TD\n  subgraph s[\"box\"]\n  a[(\"one\")]\n  end":          true,
		"sequenceDiagram\n  participant a as A\n  a->>a: x\n  Note over a: y": true,
		"flowchart LR\n  a[\"one\"]\n  a --> b":                               false, // no b
		"flowchart LR\n  a[one (1)]":                                          false,
		"flowchart LR\n  a[\"one\"]\n  b[\"two\"]\n  a -> b":                  false,
		"flowchart LR\n  subgraph s[\"box\"]\n  a[\"one\"]":                   false,
		"flowchart LR\n  end[\"one\"]":                                        false,
		"flowchart LR":                                                        false,
		"graph\n a[\"one\"]":                                                  false,
		"sequenceDiagram\n  participant a as A\n  a->>b: x":                   false,
		"sequenceDiagram\n  participant a as A\n  a->>a x":                    false,
	} {
		if err := parse(text); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
