package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// AddLine adds a line of NewToken to a file of tokens, which is made when it is not there, for its owner alone. The file is replaced
// as a whole: who reads it never sees half a line.
func AddLine(file, line string) error {
	mode := fs.FileMode(0o600)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
	}
	all := string(text)
	if all != "" && !strings.HasSuffix(all, "\n") {
		all += "\n"
	}
	all += line + "\n"
	if _, err := parseTokens(all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	next := file + ".new"
	if err := os.WriteFile(next, []byte(all), mode); err != nil {
		return err
	}
	if err := os.Rename(next, file); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}
