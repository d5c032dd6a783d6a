package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// plainEvery is how often the status is printed where it can't be rewritten.
	plainEvery = 3 * time.Second
	usualWidth = 80
)

// screen writes lines, and below them one status line: rewritten in place on a terminal, printed now and then elsewhere.
// It is safe for concurrent use.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	started time.Time
	width   func() int // columns of the terminal; 0: none
	shown   string     // the status that stands on the terminal
	printed time.Time  // when the status was last printed as a line
}

func newScreen(out io.Writer, started time.Time) *screen {
	s := &screen{out: out, started: started, width: func() int { return 0 }}
	if f, ok := out.(*os.File); ok && os.Getenv("TERM") != "dumb" {
		s.width = func() int {
			size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
			if err != nil {
				return 0
			}
			if size.Col == 0 { // it does not say
				return usualWidth
			}
			return int(size.Col)
		}
	}
	return s
}

// say writes what happened, with the seconds since the start.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(s.stamp() + fmt.Sprintf(format, args...) + "\n")
}

// print writes text as it is.
func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(text)
}

// write puts text above the status.
func (s *screen) write(text string) {
	if s.shown != "" {
		text = "\r\x1b[K" + text + s.shown
	}
	_, _ = io.WriteString(s.out, text) // nowhere else to say that the terminal is gone
}

// status shows how things stand.
func (s *screen) status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = s.stamp() + text
	if columns := s.width(); columns > 0 {
		text = clip(text, columns-1)
		s.shown = text
		_, _ = io.WriteString(s.out, "\r\x1b[K"+text)
		return
	}
	if now := time.Now(); now.Sub(s.printed) >= plainEvery {
		s.printed = now
		_, _ = io.WriteString(s.out, text+"\n")
	}
}

// clear takes the status away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown != "" {
		s.shown = ""
		_, _ = io.WriteString(s.out, "\r\x1b[K")
	}
}

func (s *screen) stamp() string { return fmt.Sprintf("%6.1fs  ", time.Since(s.started).Seconds()) }

// clip cuts a text to a number of characters.
func clip(text string, columns int) string {
	if r := []rune(text); len(r) > columns {
		return string(r[:max(0, columns)])
	}
	return text
}

// bar is a progress bar of a number of characters.
func bar(done, of, columns int) string {
	full := 0
	if of > 0 {
		full = min(columns, done*columns/of)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", columns-full) + "]"
}

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
