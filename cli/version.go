package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is the version of the module that the program was built from.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// revision is the commit that the program was built from, "" if that is not known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Show the version", Args: cobra.NoArgs}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(*cobra.Command, []string) error {
		platform := runtime.GOOS + "/" + runtime.GOARCH
		if *output == asJSON {
			return writeJSON(a.stdout, map[string]string{
				"version": a.version, "revision": revision(), "go": runtime.Version(), "platform": platform,
			})
		}
		_, err := fmt.Fprintf(a.stdout, "layby %s (%s, %s)\n", a.version, runtime.Version(), platform)
		return err
	})
	return cmd
}
