package demo

import "syscall"

// childAttributes puts a member into a process group of its own, and lets the system kill it when the demo ends without
// having stopped it. (The system looks at the thread that started it; Go keeps its threads.)
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
