package demo_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/layby-go/layby/cli"
)

// asMember makes this test binary the program that the demo's members run.
const asMember = "LAYBY_DEMO_TEST_MEMBER"

func TestMain(m *testing.M) {
	if os.Getenv(asMember) != "" {
		cli.Main()
	}
	goleak.VerifyTestMain(m)
}
