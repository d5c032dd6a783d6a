// Package integration checks the guarantees from outside, on real Kafka and Postgres: members are processes that read a
// configuration file, their handlers call a service of the test, and what the service noted decides. Members can be
// stopped, killed and frozen.
//
// The processes are this test binary itself, which runs the command line when memberEnv is set.
package integration

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/layby-go/layby/integration/stack"
)

// parallel is how many of the parallel tests run at the same time: they wait for delays and sessions more than they work.
const parallel = 4

func TestMain(m *testing.M) {
	if os.Getenv(memberEnv) != "" {
		program()
		return
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
			panic(err) // it is a number
		}
	}
	stack.Main(m)
}
