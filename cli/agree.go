package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// atTerminal says that a stream is a terminal, with a person before it.
func atTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // a descriptor
}

// errUnchanged says that a person left everything as it was.
var errUnchanged = errors.New("nothing was changed")

// agreed asks a person at a terminal, and is an error unless they say yes, also when the context ends before. Elsewhere --yes is
// needed.
func (a *app) agreed(ctx context.Context, question string) error {
	if !atTerminal(a.stdin) {
		return usagef("%s Say so with --yes, or look first with --dry-run", question)
	}
	fmt.Fprint(a.stderr, question+" [y/N] ")
	type reply struct {
		text string
		err  error
	}
	replies := make(chan reply, 1)
	go func() { // a read of a terminal cannot be ended: it lasts as long as the process when nobody answers
		text, err := bufio.NewReader(a.stdin).ReadString('\n')
		replies <- reply{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return fmt.Errorf("%w: %w", errUnchanged, ctx.Err())
	case r := <-replies:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return r.err
		}
		if answer := strings.ToLower(strings.TrimSpace(r.text)); answer != "y" && answer != "yes" {
			return conflict(errUnchanged)
		}
		return ctx.Err()
	}
}
