// Package simulation runs the whole engine, several members of it, against a broker and a database in memory, over a
// network that loses, delays and cuts what passes, in virtual time. A seed decides what is produced, how handlers behave,
// what fails and when; package verify judges the run. It has tests alone: `make simulate SEEDS=200 FROM=1`.
package simulation
