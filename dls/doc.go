// Package dls is the dead-letter store: the events that were given up on, as rows of Postgres that people list, group,
// replay and discard. A lane writes letters together with everything else of a batch: Store.Letters makes the statement,
// package parking sends it behind the lane's fence.
package dls
