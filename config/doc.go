// Package config reads Layby's configuration: one YAML file, overridden by environment variables.
//
// Load reports every problem at once, each with its file, line and column (or the name of the environment variable)
// and with what to write instead. The types are the file's sections; their struct tags carry the key, the default, the
// choices and the documentation of every value, so that Reference, Print and the loader never disagree.
package config
