// Package memory is a parking.Database in memory: a twin of Postgres with our schema, for simulations and for tests of
// handlers. One conformance suite (parking/conformance_test.go) holds it to the real one.
//
// A Database keeps the data; Connect gives a way to it, on which statements can be lost, delayed or cut. People's commands
// and what people read are methods of the Database itself.
package memory
