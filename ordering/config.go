package ordering

import "time"

// Strategy is how much order a consumer keeps.
type Strategy uint8

// The strategies.
const (
	Park  Strategy = iota // in order per resource; what fails is parked
	Block                 // in order per lane; what fails holds the lane up (R14)
	None                  // each event is its own resource
)

// Tier is one delay that a parked event waits out.
type Tier struct {
	Name     string
	Delay    time.Duration
	Attempts int // runs that the tier gives, 1 or more
	Topic    TopicID
}

// Source is one source topic of the lane.
type Source struct {
	Topic string
	ID    TopicID
	// Start is the offset that fetching begins at; Commit what is committed already, -1 for nothing.
	Start  int64
	Commit int64
	Done   []Range // offsets at or above Start that a clean handover left finished
}

// Range is a run of offsets, To not included.
type Range struct{ From, To int64 }

// Config is what a lane needs to know; it does not change during a tenure.
type Config struct {
	Strategy     Strategy
	Sources      []Source
	Tiers        []Tier
	Immediate    int           // retries in place
	Backoff      time.Duration // before the first retry in place; doubles
	MaxAfter     time.Duration // cap of a delay that a handler asks for
	AfterDeath   func(eventType string) Policy
	Route        func(eventType string) int32 // the route of an event of that type
	MaxEvents    int
	MaxBytes     int
	ParkWhenFull bool
	Routes       []int32 // those with a handler: behind the closed gates of all they wait in the source rather than be parked
	DrainRuns    int     // parked events that may run at the same time
	MaxParked    int     // parked events in memory before the lane stops fetching, 0 for no limit
	Epoch        int64
	Locked       []string  // resources whose handler of an earlier tenure still runs in this process (R9)
	Suspect      bool      // one event at a time, each start written first (R13)
	Starting     *Starting // what the last owner left started without a result (R13)
	// Elsewhere names resources of which earlier events wait in other partitions since the topics grew, and in which (R12).
	// Their events are held here until Inputs.Released names them.
	Elsewhere map[string]int32
}

// State is what Postgres keeps of a lane, as loaded by its new owner.
type State struct {
	Version   int64
	Seq       int64
	Resources []ResourceState
	Rows      []Row // in any order
}
