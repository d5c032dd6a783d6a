// Package pool runs the handlers of one consumer: a fixed number of workers that the consumer's lanes share.
//
// A [Lane] submits works; each comes back once, as a Result. What a work meets on its way:
//
//   - the lane's queue; workers take chunks from the lanes in turn;
//   - the lease (R9): while Callbacks.Allowed says no, the lane's works wait until [Lane.Renewed]; one that is to run
//     alone comes back as NotRun;
//   - the gate of its route (R15): behind a closed one it comes back as NotRun, and the lane has been told;
//   - the process (R13): a work that is to run alone waits until every other handler of the process has returned;
//   - its handler, under a context that ends with the handler's time, when the lane cancels, and when it returned.
//
// Results come back in batches, at most about a millisecond after the handler returned. A handler that ignores its
// ended context for Config.StuckGrace is given up: its work comes back as Stuck, another worker takes the place of
// its own, and Callbacks.Returned names the work once the handler does return.
//
// Locks are taken in this order: Pool.mu, worker.mu, run.mu; Alone.mu after any of them. Callbacks.Deliver, Returned
// and handlers are called under none.
package pool
