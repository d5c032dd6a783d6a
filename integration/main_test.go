// Package integration checks the guarantees from outside, on real Kafka and Postgres: members are processes that read a
// configuration file, their handlers call a service of the test, and what the service noted decides. Members can be
// stopped, killed and frozen.
//
// The processes are this test binary itself, which runs the command line when memberEnv is set.
package integration

import (
	"os"
	"testing"

	"github.com/layby-go/layby/integration/stack"
)

func TestMain(m *testing.M) {
	if os.Getenv(memberEnv) != "" {
		program()
		return
	}
	stack.Main(m)
}
