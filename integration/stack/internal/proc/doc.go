// Package proc runs server processes that do not outlive the program that started them, not even when that program is
// killed: it finds free ports, owns the directory of a server's files and the processes, and lets a root process run a
// server as another user.
package proc
