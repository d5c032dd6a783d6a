package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "Check and show the configuration", a.configValidate(), a.configPrint(), a.configReference())
}

// found is one problem or warning in JSON.
type found struct {
	Where string `json:"where"`
	Key   string `json:"key,omitempty"`
	Text  string `json:"text"`
}

func foundOf(problems []config.Problem) []found {
	list := make([]found, len(problems))
	for i, p := range problems {
		list[i] = found(p)
	}
	return list
}

func (a *app) configValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "validate", Short: "Check the configuration file, the environment's overrides and the secret files", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(*cobra.Command, []string) error {
		_, warnings, err := a.loadToRun()
		if *output == asJSON {
			var problems config.Problems
			errors.As(err, &problems)
			return errors.Join(err, writeJSON(a.stdout, map[string]any{
				"file": a.configPath, "valid": err == nil, "problems": foundOf(problems), "warnings": foundOf(warnings),
			}))
		}
		for _, w := range warnings {
			fmt.Fprintln(a.stderr, "warning: "+w.String())
		}
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s is valid\n", a.configPath)
		}
		return err
	})
	return cmd
}

func (a *app) configPrint() *cobra.Command {
	return &cobra.Command{
		Use: "print", Short: "Show the configuration in effect, with defaults and overrides; secrets are masked", Args: cobra.NoArgs,
		RunE: a.do(func(*cobra.Command, []string) error {
			cfg, _, err := a.load()
			if err != nil {
				return err
			}
			return config.Print(a.stdout, cfg)
		}),
	}
}

// keyView is a key of the configuration in JSON.
type keyView struct {
	Key      string   `json:"key"`
	Type     string   `json:"type"`
	Default  string   `json:"default,omitempty"`
	Choices  []string `json:"choices,omitempty"`
	Required bool     `json:"required,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Doc      string   `json:"doc"`
}

func (a *app) configReference() *cobra.Command {
	cmd := &cobra.Command{Use: "reference", Short: "List every key with its type and default", Args: cobra.NoArgs}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(*cobra.Command, []string) error {
		var views []keyView
		var rows [][]string
		for _, k := range config.Reference() {
			views = append(views, keyView{k.Path, k.Type, k.Default, k.Choices, k.Required, k.Secret, k.Doc})
			kind := k.Type
			if len(k.Choices) > 0 {
				kind = strings.Join(k.Choices, "|")
			}
			value := k.Default
			if k.Required {
				value = "required"
			}
			rows = append(rows, []string{k.Path, kind, value, k.Doc})
		}
		if *output == asJSON {
			return writeJSON(a.stdout, views)
		}
		return writeTable(a.stdout, []string{"key", "type", "default", "what it is"}, rows)
	})
	return cmd
}
