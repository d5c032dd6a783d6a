package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// AddLine adds a line of NewToken to a file of tokens, which is made when it is not there, for its owner alone. The file is replaced
// as a whole: who reads it never sees half a line. Its owner and its mode stay.
func AddLine(file, line string) error {
	mode, uid, gid := fs.FileMode(0o600), os.Geteuid(), os.Getegid()
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if file, err = filepath.EvalSymlinks(file); err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(s.Uid), int(s.Gid)
		}
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
	out, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the name is an operator's
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: somebody is adding a token at this moment; remove it if nobody is", next)
	}
	if err != nil {
		return err
	}
	_, err = out.WriteString(all)
	if uid != os.Geteuid() || gid != os.Getegid() {
		err = errors.Join(err, out.Chown(uid, gid))
	}
	if err = errors.Join(err, out.Chmod(mode), out.Close()); err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}
