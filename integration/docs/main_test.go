// Package docs runs what README.md and the pages under docs show: every command, program, statement, configuration and
// picture in them. A block that no check claims fails its page.
package docs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/layby-go/layby/integration/stack"
)

// TestMain runs the tests, or is one of the tools that the pages' commands call: the name that it was started by says which.
func TestMain(m *testing.M) {
	if tool := tools[filepath.Base(os.Args[0])]; tool != nil {
		tool(os.Args[1:])
		return
	}
	stack.Main(m)
}
