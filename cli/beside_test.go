package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatEndsBesideTheConsumersEndsTheProcess(t *testing.T) {
	for want, ends := range map[string]error{"it returned while the consumers ran": nil, "no such topic": errors.New("no such topic")} {
		p := &process{beside: []Beside{
			func(context.Context) error { return ends },
			func(ctx context.Context) error { <-ctx.Done(); return errors.New("told to stop") },
		}}
		consuming, b := p.startBeside(t.Context())
		<-consuming.Done()
		if err := b.stop(time.Minute); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "told to") {
			t.Errorf("it ended with %v: the process ends with %v", ends, err)
		}
	}
}

func TestWhatRunsBesideTheConsumersOutlivesThem(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	p := &process{beside: []Beside{func(ctx context.Context) error {
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}}}
	consuming, b := p.startBeside(stopped)
	stop()
	<-consuming.Done()
	select {
	case <-ended:
		t.Error("it is told to stop while handlers may still run")
	default:
	}
	if err := b.stop(time.Minute); err != nil {
		t.Errorf("a stop in order is an error: %v", err)
	}
	<-ended
}

func TestWhatDoesNotEndBesideTheConsumersDoesNotHoldUpTheProcess(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	p := &process{beside: []Beside{func(context.Context) error { <-release; return nil }}}
	_, b := p.startBeside(t.Context())
	if err := b.stop(time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not ended 1ms after it was told to") {
		t.Errorf("the process ends with %v", err)
	}
}
