package demo

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheTimelineIsDrawn(t *testing.T) {
	began := time.Unix(1000, 0)
	after := func(d time.Duration) time.Time { return began.Add(d) }
	line := &timeline{
		began:     began,
		successes: []time.Time{after(0), after(time.Second), after(1500 * time.Millisecond), after(4 * time.Second)},
		healed:    []time.Time{after(1500 * time.Millisecond)},
		samples:   []sample{{after(-time.Second), 9}, {after(time.Second), 3}, {after(1900 * time.Millisecond), 2}, {after(3 * time.Second), 0}},
		marks:     []mark{{"catalogue away", time.Second, 2 * time.Second}, {"a < b", 0, time.Second}, {"catalogue away", 4 * time.Second, 5 * time.Second}},
	}
	if got := line.seconds(); got != 5 {
		t.Errorf("%d seconds", got)
	}
	if got := perSecond(began, line.successes, 5); !slices.Equal(got, []float64{1, 2, 0, 0, 1}) {
		t.Errorf("a second's successes are %v", got)
	}
	if got := line.parked(5); !slices.Equal(got, []float64{0, 3, 3, 0, 0}) {
		t.Errorf("parked are %v", got)
	}
	path := filepath.Join(t.TempDir(), "new", "line.svg")
	if err := line.write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var texts strings.Builder
	for d := xml.NewDecoder(strings.NewReader(string(b))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is no SVG: %v", err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts.Write(text)
		}
	}
	for _, want := range []string{"succeeded a second", "healed", "parked", "catalogue away", "a < b", "seconds since"} {
		if !strings.Contains(texts.String(), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if got := strings.Count(texts.String(), "catalogue away"); got != 1 {
		t.Errorf("the legend has the catalogue %d times", got)
	}
}

func TestARunWithoutSuccessIsDrawn(t *testing.T) {
	if b, err := (&timeline{began: time.Now()}).svg(); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
