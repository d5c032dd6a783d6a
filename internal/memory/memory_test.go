package memory_test

import (
	"runtime/debug"
	"testing"

	"github.com/layby-go/layby/internal/memory"
)

func TestTune(t *testing.T) {
	for _, c := range []struct {
		name, gogc string
		want       int
	}{
		{"by itself", "", memory.Percent},
		{"the environment comes first", "150", 123},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, limit := debug.SetGCPercent(123), debug.SetMemoryLimit(-1)
			t.Cleanup(func() {
				debug.SetGCPercent(before)
				debug.SetMemoryLimit(limit)
			})
			t.Setenv("GOGC", c.gogc)
			t.Setenv("GOMEMLIMIT", "off")
			if err := memory.Tune(); err != nil {
				t.Fatal(err)
			}
			if got := debug.SetGCPercent(-1); got != c.want {
				t.Errorf("the target is %d, want %d", got, c.want)
			}
		})
	}
}

func TestTuneSaysThatALimitCannotBeRead(t *testing.T) {
	before, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(limit)
	})
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "") // counts as not set
	t.Setenv("AUTOMEMLIMIT", "much")
	if err := memory.Tune(); err == nil {
		t.Error("no error of a ratio that is no number")
	}
	if got := debug.SetGCPercent(-1); got != memory.Percent {
		t.Errorf("the target is %d, want %d all the same", got, memory.Percent)
	}
}
