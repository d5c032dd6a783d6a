package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/harmless"
)

func (a *app) dlsExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write dead letters as lines of JSON", Args: cobra.NoArgs,
		Long: "Export writes the dead letters that are all that the flags say to standard output, one a line, those that failed last first, with\n" +
			"their bytes, versions, attempts and earlier deaths: exactly, bytes that are no text in base64. It reads page by page. Letters\n" +
			"that come, die again or go while it writes may be missing.",
		Example: "  layby dls export > letters.jsonl\n" +
			"  layby dls export --state dead --class CardDeclined --since 7d | gzip > declined.jsonl.gz",
	}
	flags := addFilterFlags(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		filter, err := flags.filter()
		if err != nil {
			return err
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			out := bufio.NewWriterSize(a.stdout, 1<<16)
			told := a.newTally()
			letters, bytes := 0, int64(0)
			err := store.Export(cmd.Context(), filter, func(line []byte) error {
				letters, bytes = letters+1, bytes+int64(len(line))+1
				told.say("exported %d letters, %d MB", letters, bytes/1_000_000)
				if _, err := io.WriteString(out, harmless.JSON(string(line))); err != nil {
					return err
				}
				return out.WriteByte('\n')
			})
			if err == nil {
				err = out.Flush()
			}
			told.end("exported %d letters, %d MB", letters, bytes/1_000_000)
			return err
		})
	})
	return cmd
}

// tally tells a person at a terminal how far something is.
type tally struct {
	to   io.Writer // nil where nobody looks
	next time.Time
}

const tallyEvery = 200 * time.Millisecond

func (a *app) newTally() *tally {
	file, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) { //nolint:gosec // a descriptor
		return &tally{}
	}
	return &tally{to: file}
}

// say shows how far it is, in the place of what it said before.
func (t *tally) say(format string, args ...any) {
	if now := time.Now(); t.to != nil && now.After(t.next) {
		t.next = now.Add(tallyEvery)
		fmt.Fprintf(t.to, "\r\x1b[K"+format, args...)
	}
}

// end shows what became of it.
func (t *tally) end(format string, args ...any) {
	if t.to != nil {
		fmt.Fprintf(t.to, "\r\x1b[K"+format+"\n", args...)
	}
}
