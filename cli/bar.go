package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar shows a person at a terminal how far long work is, and nothing elsewhere.
type bar struct {
	a    *app
	what string
	bar  *progressbar.ProgressBar
}

func (a *app) newBar(what string) *bar { return &bar{a: a, what: what} }

// set says that so many of so many are done. What is done at once shows no bar.
func (b *bar) set(done, of int) {
	if b.bar == nil {
		if done >= of || !atTerminal(b.a.stderr) {
			return
		}
		b.bar = progressbar.NewOptions(of, progressbar.OptionSetWriter(b.a.stderr), progressbar.OptionSetDescription(b.what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(tallyEvery), progressbar.OptionSetWidth(barWidth),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true))
	}
	_ = b.bar.Set(done) // a terminal that went away is no reason to stop
}

// say changes what is said before the bar.
func (b *bar) say(what string) {
	if b.what = what; b.bar != nil {
		b.bar.Describe(what)
	}
}

// end takes the bar away.
func (b *bar) end() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

const (
	barWidth    = 30
	followEvery = 500 * time.Millisecond
)
