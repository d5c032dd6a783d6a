package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const (
	answerTimeout = 5 * time.Second
	pullTimeout   = 60 * time.Second

	// ownerLabel is on all that we make: the host and the process id of the program.
	ownerLabel = "layby.stack.owner"

	envNoReaper = "TESTCONTAINERS_RYUK_DISABLED"
	envHost     = "TESTCONTAINERS_HOST_OVERRIDE"
)

// daemon is a Docker that answers.
type daemon struct {
	provider *testcontainers.DockerProvider
	owner    string
	host     string // where published ports are reached
}

// open connects to Docker and makes sure that the image is there, pulling it if need be.
func open(ctx context.Context, image string) (*daemon, error) {
	// The reaper of testcontainers is one more image, and one more address to reach, that can fail; sweep does its work.
	if os.Getenv(envNoReaper) == "" {
		if err := os.Setenv(envNoReaper, "true"); err != nil {
			return nil, err
		}
	}
	provider, err := connect()
	if err != nil {
		return nil, fmt.Errorf("docker does not answer: %w", err)
	}
	healthy, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := provider.Health(healthy); err != nil {
		return nil, fmt.Errorf("docker does not answer: %w", err)
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	d := &daemon{
		provider: provider,
		owner:    name + ":" + strconv.Itoa(os.Getpid()),
		host:     publishedHost(provider.Client().DaemonHost()),
	}
	if err := d.pull(ctx, image); err != nil {
		return nil, err
	}
	return d, d.sweep(ctx, name)
}

// quiet has the library say nothing: what matters comes back as an error.
var quiet = sync.OnceFunc(func() { log.SetDefault(log.NewNoopLogger()) })

// connect turns the panics of the library, which it has for some setups without Docker, into errors.
func connect() (p *testcontainers.DockerProvider, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	quiet()
	return testcontainers.NewDockerProvider()
}

// publishedHost is where this program reaches a port that Docker publishes: this machine, unless the daemon is elsewhere.
func publishedHost(daemon string) string {
	if host := os.Getenv(envHost); host != "" {
		return host
	}
	if u, err := url.Parse(daemon); err == nil && (u.Scheme == "tcp" || u.Scheme == "ssh" || strings.HasPrefix(u.Scheme, "http")) {
		return u.Hostname()
	}
	return "127.0.0.1"
}

func (d *daemon) pull(ctx context.Context, image string) error {
	_, err := d.provider.Client().ImageInspect(ctx, image)
	if err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	answer, err := d.provider.Client().ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = answer.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("image %s is not there and could not be pulled within %s: %w", image, pullTimeout, err)
	}
	return nil
}

// sweep removes what programs of this host left that are gone.
func (d *daemon) sweep(ctx context.Context, host string) error {
	gone := func(labels map[string]string) bool {
		owner, pid, _ := strings.Cut(labels[ownerLabel], ":")
		id, err := strconv.Atoi(pid)
		return owner == host && err == nil && errors.Is(syscall.Kill(id, 0), syscall.ESRCH)
	}
	ours := make(client.Filters).Add("label", ownerLabel)
	cl := d.provider.Client()
	containers, err := cl.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return err
	}
	for _, c := range containers.Items {
		if gone(c.Labels) {
			// Another program may remove it at the same time.
			_, _ = cl.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
		}
	}
	networks, err := cl.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return err
	}
	for _, n := range networks.Items {
		if gone(n.Labels) {
			_, _ = cl.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		}
	}
	return nil
}

// spec is a container to run.
type spec struct {
	image      string
	env        map[string]string
	entrypoint []string
	cmd        []string
	files      []testcontainers.ContainerFile
	port       string // of the container, such as 5432/tcp
	published  int
	network    string
	alias      string
}

// server is a container whose address and data stay the same while it is stopped and started.
type server struct {
	daemon    *daemon
	container testcontainers.Container
}

func (d *daemon) run(ctx context.Context, s spec) (*server, error) {
	req := testcontainers.ContainerRequest{
		Image:        s.image,
		Env:          s.env,
		Entrypoint:   s.entrypoint,
		Cmd:          s.cmd,
		Files:        s.files,
		ExposedPorts: []string{s.port},
		Labels:       map[string]string{ownerLabel: d.owner},
		HostConfigModifier: func(h *container.HostConfig) {
			binding := network.PortBinding{HostPort: strconv.Itoa(s.published)}
			if ip, err := netip.ParseAddr(d.host); err == nil && ip.IsLoopback() {
				binding.HostIP = ip
			}
			h.PortBindings = network.PortMap{network.MustParsePort(s.port): []network.PortBinding{binding}}
		},
	}
	if s.network != "" {
		req.Networks = []string{s.network}
		req.NetworkAliases = map[string][]string{s.network: {s.alias}}
	}
	c, err := d.provider.RunContainer(ctx, req)
	if err != nil {
		err = fmt.Errorf("run %s: %w", s.image, err)
		if c != nil {
			err = errors.Join(err, (&server{d, c}).remove())
		}
		return nil, err
	}
	return &server{daemon: d, container: c}, nil
}

func (s *server) id() string { return s.container.GetContainerID() }

func (s *server) start(ctx context.Context) error {
	_, err := s.daemon.provider.Client().ContainerStart(ctx, s.id(), client.ContainerStartOptions{})
	return err
}

// stop asks with the image's own signal and kills after the timeout.
func (s *server) stop(ctx context.Context, timeout time.Duration) error {
	seconds := int(timeout.Seconds())
	_, err := s.daemon.provider.Client().ContainerStop(ctx, s.id(), client.ContainerStopOptions{Timeout: &seconds})
	return err
}

// signal sends a signal that ends the container and waits for the end.
func (s *server) signal(ctx context.Context, name string) error {
	cl := s.daemon.provider.Client()
	ended := cl.ContainerWait(ctx, s.id(), client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	if _, err := cl.ContainerKill(ctx, s.id(), client.ContainerKillOptions{Signal: name}); err != nil {
		return err
	}
	select {
	case err := <-ended.Error:
		return err
	case <-ended.Result:
		return nil
	}
}

func (s *server) freeze(ctx context.Context) error {
	_, err := s.daemon.provider.Client().ContainerPause(ctx, s.id(), client.ContainerPauseOptions{})
	return err
}

func (s *server) thaw(ctx context.Context) error {
	_, err := s.daemon.provider.Client().ContainerUnpause(ctx, s.id(), client.ContainerUnpauseOptions{})
	return err
}

func (s *server) running(ctx context.Context) (bool, error) {
	state, err := s.container.State(ctx)
	if err != nil {
		return false, err
	}
	return state.Running, nil
}

const logTail = 4 << 10

// log is the end of what the container printed.
func (s *server) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	r, err := s.container.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	if len(b) > logTail {
		b = b[len(b)-logTail:]
	}
	return strings.TrimSpace(string(b))
}

const removeTimeout = 30 * time.Second

func (s *server) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	opts := client.ContainerRemoveOptions{RemoveVolumes: true, Force: true}
	_, err := s.daemon.provider.Client().ContainerRemove(ctx, s.id(), opts)
	return err
}
