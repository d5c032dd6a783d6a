package integration

import (
	"time"
)

// supervisor keeps members running: one whose handler ended its process is started again, as Kubernetes does.
type supervisor struct {
	w       *world
	members []*member
	crashes []crash
}

// supervise starts so many members.
func (w *world) supervise(n int) *supervisor {
	w.t.Helper()
	s := &supervisor{w: w}
	for range n {
		s.members = append(s.members, w.start())
	}
	return s
}

// tend replaces the members that have ended.
func (s *supervisor) tend() {
	s.w.t.Helper()
	for i, m := range s.members {
		if m.alive() {
			continue
		}
		if code := m.wait(time.Second); code != exitStatus {
			s.w.t.Fatalf("member %s ended with %d, expected that only a handler ends it:\n%s", m.name, code, m.tail())
		}
		s.crashes = append(s.crashes, s.w.crashed(m))
		s.members[i] = s.w.launch()
	}
}

// eventually watches a condition and tends the members meanwhile.
func (s *supervisor) eventually(limit time.Duration, what string, look func() (done bool, saw string)) {
	s.w.t.Helper()
	eventually(s.w.t, limit, what, func() (bool, string) {
		s.tend()
		return look()
	})
}

// rest is world.rest while members end.
func (s *supervisor) rest(limit time.Duration) progress {
	s.w.t.Helper()
	s.eventually(limit, "every event has succeeded, is dead or is held", func() (bool, string) {
		p := s.w.progress()
		return p.open == 0 && p.waiting == 0, p.String()
	})
	return s.w.rest(10 * time.Second)
}

// well waits until all members say that they are alive and ready, and together own all partitions.
func (s *supervisor) well() {
	s.w.t.Helper()
	s.w.owners(int(s.w.partitions), s.members...)
	for _, m := range s.members {
		for _, path := range []string{"/livez", "/readyz"} {
			if status, body := m.get(path); status != 200 {
				s.w.t.Errorf("%s of member %s: %d %s", path, m.name, status, body)
			}
		}
	}
}

// sum adds up a metric of all members.
func (s *supervisor) sum(name string, texts ...string) (sum float64) {
	for _, m := range s.members {
		n, _ := m.metric(name, texts...)
		sum += n
	}
	return sum
}
