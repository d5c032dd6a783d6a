// Package verify checks a run against the guarantees, from a log of what happened: what was produced, which handlers
// started and ended, what was committed, and what is stored at the end. It believes no counter of the consumer, and it
// knows nothing of Layby but the words, so that logs of other consumers can be checked too.
package verify
