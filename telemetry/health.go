package telemetry

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Check says why a part of the process is not well, or "" when it is. It must answer at once: probes wait for it.
type Check func() string

// Health answers the probes. Liveness asks whether a restart would help, readiness whether the process does its work.
// It is safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	live     []named
	ready    []named
	notes    []named
	stopping bool
}

type named struct {
	name  string
	check Check
}

// NewHealth makes a Health without checks: alive and ready.
func NewHealth() *Health { return &Health{} }

// Live adds a check to /livez. A check of the same name is replaced.
func (h *Health) Live(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = set(h.live, name, check)
}

// Ready adds a check to /readyz. A check of the same name is replaced.
func (h *Health) Ready(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = set(h.ready, name, check)
}

// Note adds to /readyz?verbose what a person should know although the process does its work, while it is not "".
func (h *Health) Note(name string, note Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = set(h.notes, name, note)
}

func set(list []named, name string, check Check) []named {
	list = slices.DeleteFunc(slices.Clone(list), func(n named) bool { return n.name == name })
	return append(list, named{name, check})
}

// Stopping turns readiness off for good. It is the first step of a stop.
func (h *Health) Stopping() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

func (h *Health) livez(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	checks := h.live
	h.mu.Unlock()
	answer(w, r, checks, nil)
}

func (h *Health) readyz(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	checks, notes := h.ready, h.notes
	if h.stopping {
		checks = append(slices.Clone(checks), named{"process", func() string { return "stopping" }})
	}
	h.mu.Unlock()
	answer(w, r, checks, notes)
}

// answer runs the checks. It lists those that fail, with ?verbose all of them and the notes.
func answer(w http.ResponseWriter, r *http.Request, checks, notes []named) {
	_, verbose := r.URL.Query()["verbose"]
	var body bytes.Buffer
	status := http.StatusOK
	for _, c := range checks {
		reason := c.check()
		switch {
		case reason != "":
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&body, "[-]%s: %s\n", c.name, line(reason))
		case verbose:
			fmt.Fprintf(&body, "[+]%s ok\n", c.name)
		}
	}
	for _, n := range notes {
		if text := n.check(); verbose && text != "" {
			fmt.Fprintf(&body, "[!]%s: %s\n", n.name, line(text))
		}
	}
	if status == http.StatusOK {
		body.WriteString("ok\n")
	} else {
		body.WriteString("not ok\n")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

func line(text string) string { return strings.ReplaceAll(text, "\n", "; ") }
