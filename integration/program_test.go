package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/cli"
)

// Environment variables of a member.
const (
	memberEnv = "LAYBY_TEST_MEMBER" // its name
	relayEnv  = "LAYBY_TEST_RELAY"  // where its Go handlers report
)

// deedHeader tells a relaying handler what to do once it is answered.
const (
	deedHeader = "X-Deed"
	deedExit   = "exit"
	deedPanic  = "panic"
)

// exitStatus is what a process ends with when its handler ends it.
const exitStatus = 7

// heapMark begins the line in which a member says how much its heap holds.
const heapMark = "heap after garbage collection: "

// program is what a member runs: the command line, with handlers that report to the service of the test as webhooks do,
// but in Go: "relay" obeys its context, "deaf" ignores it.
func program() {
	weigh := make(chan os.Signal, 1)
	signal.Notify(weigh, syscall.SIGUSR1)
	go func() { // lives as long as the process
		for range weigh {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprintf(os.Stderr, "%s%d\n", heapMark, m.HeapAlloc)
		}
	}()
	r := &relay{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, url: os.Getenv(relayEnv)}
	cli.Main(cli.Handlers{
		"relay": layby.HandlerFunc(r.handle),
		"deaf": layby.HandlerFunc(func(ctx context.Context, e *layby.Event) error {
			return r.handle(context.WithoutCancel(ctx), e)
		}),
	})
}

// relay hands events to the service with every byte that the handler was given.
type relay struct {
	client *http.Client
	url    string
}

// bytesOf is an event's bytes in a form that keeps nil and empty apart.
type bytesOf struct {
	Resource   []byte
	Key, Value []byte
	Headers    []headerBytes
	Timestamp  int64 // in milliseconds: JSON's years have four digits
	Type       string
}

// headerBytes is a header whose key, as JSON, stays what it is.
type headerBytes struct{ Key, Value []byte }

func (r *relay) handle(ctx context.Context, e *layby.Event) error {
	headers := make([]headerBytes, len(e.Headers))
	for i, h := range e.Headers {
		headers[i] = headerBytes{[]byte(h.Key), h.Value}
	}
	body, err := json.Marshal(bytesOf{[]byte(e.Resource), e.Key, e.Value, headers, e.Timestamp.UnixMilli(), e.Type})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Layby-Attempt", strconv.Itoa(e.Attempt))
	req.Header.Set("Layby-Fencing-Token", strconv.FormatInt(e.Token, 10))
	req.Header.Set("Layby-Position", fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset))
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	switch deed := resp.Header.Get(deedHeader); deed {
	case "":
	case deedExit:
		os.Exit(exitStatus)
	case deedPanic:
		panic("told to by the test")
	default:
		return oddErrors[deed]()
	}
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return layby.Permanent(errors.New(resp.Status))
	}
	return errors.New(resp.Status)
}
