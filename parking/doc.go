// Package parking keeps the lanes, parked resources and parked events in Postgres. A lane's owner takes it with
// Store.Acquire, which loads what is parked, and writes through the Tenure it gets: every write is one transaction
// behind the lane's fence (R8), so an owner that was replaced changes nothing.
package parking
