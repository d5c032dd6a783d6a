// Package memory decides how often the memory of a process that consumes is collected.
package memory

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Percent is the garbage collector's target, in GOGC's terms: the heap may grow to five times of what is in use. What a
// consumer keeps is small, and nearly all that it reads is garbage soon; at Go's 100 it spends a quarter of its processor
// time on looking at the same few megabytes again and again.
const Percent = 400

const limitVariable = "GOMEMLIMIT"

// Tune sets the collector's target to Percent, and the memory limit to nine tenths of the container's, where there is one:
// near the limit the collector works as often as it must. GOGC and GOMEMLIMIT of the environment come first, empty ones
// count as not set, and AUTOMEMLIMIT is another share of the container's memory or "off". The error says that the
// container's limit can't be read; the target is set all the same.
func Tune() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(Percent)
	}
	if os.Getenv(limitVariable) == "" {
		// What follows would take an empty one for a limit, which Go doesn't.
		if err := os.Unsetenv(limitVariable); err != nil {
			return fmt.Errorf("unset %s: %w", limitVariable, err)
		}
	}
	_, err := memlimit.Set()
	if err != nil && !errors.Is(err, memlimit.ErrCgroupsNotSupported) && !errors.Is(err, memlimit.ErrNoCgroup) {
		return fmt.Errorf("read the container's memory limit (set %s to go without it): %w", limitVariable, err)
	}
	return nil
}
