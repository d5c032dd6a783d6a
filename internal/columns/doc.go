// Package columns turns Go values into what a column of the store can hold, and back: text that Postgres accepts, and
// headers that come back byte for byte.
package columns
