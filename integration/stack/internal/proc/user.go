package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// User is the account that a server runs as.
type User struct {
	Name     string
	uid, gid uint32
}

// Unprivileged returns the account that a server which refuses to run as root runs as: nil, so the program's own, unless
// the program is root; then the first of names that exists.
func Unprivileged(names ...string) (*User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &User{Name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("a server that refuses to run as root needs one of the users %v: none of them exists", names)
}

func (u *User) credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.uid, Gid: u.gid}
}

// Own gives dir and what is in it to the user; without a user it does nothing.
func (u *User) Own(dir string) error {
	if u == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(u.uid), int(u.gid))
	})
	if err != nil {
		return fmt.Errorf("give %s to user %s: %w", dir, u.Name, err)
	}
	return nil
}

// CanEnter tells whether the user can get to dir; without a user the answer is yes.
func (u *User) CanEnter(dir string) error {
	if u == nil {
		return nil
	}
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it will be made, open to all
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		open := info.Mode().Perm()&0o001 != 0 || ok && st.Uid == u.uid && info.Mode().Perm()&0o100 != 0
		if !open {
			return fmt.Errorf("user %s, whom a server started by root runs as, cannot enter %s: choose a directory outside of it", u.Name, d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}
