#!/usr/bin/env bash
# Runs every fuzz target of the module for a while: scripts/fuzz.sh 30s
set -eu -o pipefail
cd "$(dirname "$0")/.."
for pkg in $(go list -e -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do
  for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$pkg"/*_test.go | sed 's/^func //' || true); do
    (cd "$pkg" && go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-30s}" .)
  done
done
