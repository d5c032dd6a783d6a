//go:build !linux

package demo

import "syscall"

// childAttributes puts a member into a process group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
