package pgproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/layby-go/layby/integration/stack/internal/proc"
)

const (
	// minMajor is the oldest Postgres that Layby runs on.
	minMajor = 15
	// archive is the version that is downloaded where the machine has none.
	archive = embeddedpostgres.V18
	// rootCache holds the downloaded server when the cache directory of root is closed to the user whom it runs as.
	rootCache = "/var/cache/layby"
)

// places are where packages put server binaries that are not on the PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)[^\s]*`)

// binaries is a directory with initdb and postgres.
type binaries struct {
	dir     string
	version string
	major   int
}

func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }
func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }

// findBinaries takes the newest Postgres of the machine, else it downloads one.
func findBinaries(ctx context.Context, user *proc.User, log io.Writer) (binaries, error) {
	found := local(ctx)
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b binaries) int { return cmp.Compare(a.major, b.major) }), nil
	}
	if ctx.Err() != nil {
		return binaries{}, ctx.Err() // nothing was found because nothing could be asked
	}
	b, err := download(ctx, user, log)
	if err != nil {
		return binaries{}, fmt.Errorf("no Postgres %d or later on this machine (looked in PATH and %v) and none could be downloaded; "+
			"install it, for example: apt-get install postgresql: %w", minMajor, places, err)
	}
	return b, nil
}

func local(ctx context.Context) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, place := range places {
		matches, _ := filepath.Glob(place) // the patterns are ours: no error
		dirs = append(dirs, matches...)
	}
	var found []binaries
	for _, dir := range dirs {
		if b, err := inspect(ctx, dir); err == nil && b.major >= minMajor {
			found = append(found, b)
		}
	}
	return found
}

func inspect(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := os.Stat(b.initdb()); err != nil {
		return b, err
	}
	out, err := exec.CommandContext(ctx, b.postgres(), "--version").Output()
	if err != nil {
		return b, err
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return b, fmt.Errorf("%s --version says %q", b.postgres(), out)
	}
	b.version = string(m[0][len("(PostgreSQL) "):])
	b.major, err = strconv.Atoi(string(m[1]))
	return b, err
}

func download(ctx context.Context, user *proc.User, log io.Writer) (binaries, error) {
	cache, err := proc.CacheDir()
	if err != nil {
		return binaries{}, err
	}
	name := fmt.Sprintf("postgres-%s-%s-%s", archive, runtime.GOOS, runtime.GOARCH)
	dir := filepath.Join(cache, name)
	if user.CanEnter(dir) != nil {
		dir = filepath.Join(rootCache, name)
	}
	err = proc.Once(ctx, dir, func(tmp string) error {
		fmt.Fprintf(log, "Downloading Postgres %s (15 MB, once)\n", archive)
		return unpack(ctx, tmp)
	})
	if err != nil {
		return binaries{}, err
	}
	return inspect(ctx, filepath.Join(dir, "bin"))
}

// unpack downloads the archive and unpacks it into dir.
//
// The library has no call for that alone: its Start would also make a database and start the server, both as the user
// that we are, which may be root. A data directory below a regular file ends Start right after the unpacking.
func unpack(ctx context.Context, dir string) error {
	ports, err := proc.FreePorts(ctx, 1)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "layby-postgres-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	file := filepath.Join(work, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	config := embeddedpostgres.DefaultConfig().
		Version(archive).
		Port(uint32(ports[0])).
		CachePath(filepath.Join(work, "download")).
		RuntimePath(filepath.Join(work, "run")).
		DataPath(filepath.Join(file, "data")).
		BinariesPath(dir).
		Logger(io.Discard)
	server := embeddedpostgres.NewDatabase(config)
	started := server.Start()
	if started == nil {
		return errors.Join(errors.New("unpack Postgres: the server was started where it cannot be"), server.Stop())
	}
	if _, err := os.Stat(filepath.Join(dir, "bin", "postgres")); err != nil {
		return fmt.Errorf("download Postgres %s: %w", archive, started)
	}
	return nil
}
