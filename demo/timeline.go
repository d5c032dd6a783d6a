package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-analyze/charts"
)

// sample is how things stood at a moment.
type sample struct {
	at     time.Time
	parked int // waiting, or held behind a dead letter
}

// timeline is the run as a picture: what succeeded in each second, what of it had been healed, and what was parked.
type timeline struct {
	began     time.Time
	successes []time.Time
	healed    []time.Time
	samples   []sample
	marks     []mark
}

// mark is a time in which something was wrong.
type mark struct {
	name     string
	from, to time.Duration
}

const (
	pictureWidth  = 1200
	pictureHeight = 500
	pictureLabels = 12
)

// write draws the picture into a file.
func (t *timeline) write(path string) error {
	picture, err := t.svg()
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil { //nolint:gosec // it is no secret
			err = os.WriteFile(path, picture, 0o644) //nolint:gosec // likewise
		}
	}
	if err != nil {
		return fmt.Errorf("draw the timeline: %w", err)
	}
	return nil
}

func (t *timeline) svg() ([]byte, error) {
	seconds := t.seconds()
	names := []string{"succeeded a second", "healed a second (right)", "parked (right)"}
	rate := perSecond(t.began, t.successes, seconds)
	values := [][]float64{rate, perSecond(t.began, t.healed, seconds), t.parked(seconds)}
	top := slices.Max(rate)
	for i, m := range t.byName() {
		names = append(names, m[0].name)
		values = append(values, bars(m, seconds, top*(1.08+0.06*float64(i))))
	}
	opt := charts.NewLineChartOptionWithData(values)
	opt.SeriesList[1].YAxisIndex, opt.SeriesList[2].YAxisIndex = 1, 1
	opt.YAxis = []charts.YAxisOption{{Title: "events a second", Min: charts.Ptr(0.0)}, {Title: "parked, and healed a second", Min: charts.Ptr(0.0)}}
	opt.ValueFormatter = func(f float64) string { return thousands(int(f)) }
	opt.Symbol = charts.Symbol{Shape: charts.SymbolNone}
	opt.LineStrokeWidth = 2
	opt.Legend = charts.LegendOption{SeriesNames: names, Symbol: charts.SymbolSquare}
	opt.XAxis = charts.XAxisOption{Title: "seconds since the first event", LabelCount: pictureLabels}
	for i := range seconds {
		opt.XAxis.Labels = append(opt.XAxis.Labels, fmt.Sprint(i))
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: pictureWidth, Height: pictureHeight})
	if err := p.LineChart(opt); err != nil {
		return nil, err
	}
	return p.Bytes()
}

// seconds is how many the picture has: up to the last success or sample.
func (t *timeline) seconds() int {
	last := t.began
	for _, s := range t.samples {
		if s.at.After(last) {
			last = s.at
		}
	}
	for _, at := range t.successes {
		if at.After(last) {
			last = at
		}
	}
	return int(last.Sub(t.began)/time.Second) + 1
}

// perSecond counts moments in each second.
func perSecond(began time.Time, moments []time.Time, seconds int) []float64 {
	out := make([]float64, seconds)
	for _, at := range moments {
		if i := int(at.Sub(began) / time.Second); i >= 0 && i < seconds {
			out[i]++
		}
	}
	return out
}

// parked is the most that was parked in each second; a second without a sample is like the one before.
func (t *timeline) parked(seconds int) []float64 {
	out, seen := make([]float64, seconds), make([]bool, seconds)
	for _, s := range t.samples {
		if i := int(s.at.Sub(t.began) / time.Second); i >= 0 && i < seconds {
			out[i], seen[i] = max(out[i], float64(s.parked)), true
		}
	}
	for i := 1; i < seconds; i++ {
		if !seen[i] {
			out[i] = out[i-1]
		}
	}
	return out
}

// byName groups the marks by their names, in the order in which these first come.
func (t *timeline) byName() [][]mark {
	var groups [][]mark
	for _, m := range t.marks {
		i := slices.IndexFunc(groups, func(g []mark) bool { return g[0].name == m.name })
		if i < 0 {
			groups, i = append(groups, nil), len(groups)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

// bars are lines at a height, where there are marks.
func bars(marks []mark, seconds int, height float64) []float64 {
	out := make([]float64, seconds)
	for i := range out {
		out[i] = charts.GetNullValue()
		for _, m := range marks {
			if at := time.Duration(i) * time.Second; at >= m.from.Truncate(time.Second) && at <= m.to {
				out[i] = height
			}
		}
	}
	return out
}
