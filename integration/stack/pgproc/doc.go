// Package pgproc runs a Postgres server as a process of this machine: from the machine's own binaries, else from an
// archive that it downloads once. It works for root too (Postgres refuses root, so the server then runs as another user).
// Tests reach it through package stack; the demo uses it as it is.
package pgproc
