package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// weather is what a path does to what passes, each with a probability.
type weather struct {
	delay      time.Duration // of a request or an answer, at most
	lost       float64       // the connection breaks before a request arrives
	unanswered float64       // the connection breaks before a request's answer arrives
	late       float64       // a request whose sender gave up arrives all the same
}

// path is the network between a host and a server.
type path struct {
	mu      sync.Mutex
	random  *rand.Rand
	weather weather
	least   time.Duration // that a request takes in any weather
	gate    chan struct{} // set while nothing passes, in either direction; closed when it does again
	refuses bool
	links   map[*link]struct{}
	over    chan struct{} // closed at the end of the run: what is on its way is lost
}

func newPath(random *rand.Rand) *path {
	return &path{random: random, links: map[*link]struct{}{}, over: make(chan struct{})}
}

// fate is what happens to one request.
type fate struct {
	delay, answerDelay     time.Duration
	lost, unanswered, late bool
}

func (p *path) fate() fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.weather
	f := fate{lost: p.random.Float64() < w.lost, unanswered: p.random.Float64() < w.unanswered, late: p.random.Float64() < w.late}
	if w.delay > 0 {
		f.delay, f.answerDelay = rand64(p.random, w.delay), rand64(p.random, w.delay)
	}
	f.delay += p.least
	return f
}

func (p *path) refusing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuses
}

// fair says that nothing happens to what passes.
func (p *path) fair() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather == weather{} && p.gate == nil && !p.refuses
}

// kill breaks all connections for good. What was on its way may still arrive.
func (p *path) kill() {
	p.open()
	p.refuse()
}

// rand64 is a duration from 0 to d.
func rand64(r *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(d) + 1))
}

func (p *path) setWeather(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
}

// block lets nothing pass until open, and breaks no connection.
func (p *path) block() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		p.gate = make(chan struct{})
	}
}

// refuse breaks all connections and takes no new ones until open.
func (p *path) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	for l := range p.links {
		l.cut()
	}
}

func (p *path) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
}

var errRefused = errors.New("connection refused")

// pass waits until the path is open, and a delay, unless given up.
func (p *path) pass(delay time.Duration, giveUp <-chan struct{}) bool {
	for {
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		if gate == nil {
			break
		}
		select {
		case <-gate:
		case <-giveUp:
			return false
		case <-p.over:
			return false
		}
	}
	if delay <= 0 {
		return true
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-giveUp:
		return false
	case <-p.over:
		return false
	}
}

// dial connects to a server over the path. What passes is seen by watch, if it is set.
func (p *path) dial(ctx context.Context, to func(context.Context) (net.Conn, error), watch watcher) (net.Conn, error) {
	if !p.pass(0, ctx.Done()) {
		return nil, ctx.Err()
	}
	p.mu.Lock()
	refuses := p.refuses
	p.mu.Unlock()
	if refuses {
		return nil, errRefused
	}
	server, err := to(ctx)
	if err != nil {
		return nil, err
	}
	client, near := net.Pipe()
	l := &link{path: p, near: near, server: server, watch: watch, gone: make(chan struct{}), open: map[uint32]fate{}}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	go l.requests()
	go l.answers()
	return client, nil
}

// watcher sees what passes a link: requests when they reach the server, answers when they leave it.
type watcher interface {
	request(frame []byte)
	answer(frame []byte)
}

// link is one connection of a path. It passes on whole requests and answers of Kafka's protocol.
type link struct {
	path   *path
	near   net.Conn // to the host
	server net.Conn
	watch  watcher
	gone   chan struct{} // closed when the host's side has ended
	once   sync.Once

	mu   sync.Mutex
	open map[uint32]fate // requests that wait for their answer, by correlation id
}

// cut ends the host's side.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.gone)
		l.near.Close()
	})
}

// sendBuffer is how many requests a host can send before the first has arrived: a socket's buffer.
const sendBuffer = 256

// receive takes in what the host sends, until it ends the connection.
func (l *link) receive(sent chan<- []byte) {
	defer close(sent)
	defer l.cut()
	for {
		frame, err := readFrame(l.near)
		if err != nil || len(frame) < 12 {
			return
		}
		sent <- frame
	}
}

// requests passes requests on until the link ends. What the host sent before it gave up may still arrive.
func (l *link) requests() {
	sent := make(chan []byte, sendBuffer)
	go l.receive(sent)
	defer func() {
		l.cut()
		l.server.Close()
		for range sent { // never more than a buffer's worth: the host's side is closed
		}
		l.path.mu.Lock()
		delete(l.path.links, l)
		l.path.mu.Unlock()
	}()
	for frame := range sent {
		f := l.path.fate()
		if f.lost {
			return
		}
		giveUp := l.gone
		if f.late {
			giveUp = nil
		}
		if !l.path.pass(f.delay, giveUp) {
			return
		}
		l.mu.Lock()
		l.open[binary.BigEndian.Uint32(frame[8:])] = f
		l.mu.Unlock()
		if l.watch != nil {
			l.watch.request(frame)
		}
		if _, err := l.server.Write(frame); err != nil {
			return
		}
		if f.unanswered {
			<-l.gone // the server's answer ends the link
			return
		}
	}
}

// answers passes answers on until the link ends.
func (l *link) answers() {
	defer l.cut()
	for {
		frame, err := readFrame(l.server)
		if err != nil || len(frame) < 8 {
			return
		}
		if l.watch != nil {
			l.watch.answer(frame)
		}
		id := binary.BigEndian.Uint32(frame[4:])
		l.mu.Lock()
		f := l.open[id]
		delete(l.open, id)
		l.mu.Unlock()
		if f.unanswered || !l.path.pass(f.answerDelay, l.gone) {
			return
		}
		if _, err := l.near.Write(frame); err != nil {
			return
		}
	}
}

// readFrame reads a size and so many bytes, and returns both.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
