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

// Tune sets the collector's target to Percent, and the memory limit to nine tenths of the container's, where there is one:
// near the limit the collector works as often as it must. GOGC and GOMEMLIMIT of the environment come first. The error says
// that the container's limit can't be read; the target is set all the same.
func Tune() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(Percent)
	}
	_, err := memlimit.Set()
	if err != nil && !errors.Is(err, memlimit.ErrCgroupsNotSupported) {
		return fmt.Errorf("read the container's memory limit (set GOMEMLIMIT to go without it): %w", err)
	}
	return nil
}
