// Package telemetry is what an operator watches: Prometheus metrics, and the HTTP listener that serves them with the
// probes /livez and /readyz.
//
// Every metric's name starts with layby_. A label never holds a key, a resource or an offset, and labels whose values
// come from outside (event types, error classes, dependencies, reasons) take a bounded number of them; what comes later
// counts as "other".
package telemetry
