package admin

import (
	"strings"
	"sync"
)

// locked writes a log that tests read.
type locked struct {
	mu sync.Mutex
	to *strings.Builder
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.String()
}
