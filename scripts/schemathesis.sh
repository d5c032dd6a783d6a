#!/bin/sh
# Has schemathesis ask the HTTP API for EXAMPLES requests of each kind and operation: what the OpenAPI description allows, and what it
# does not. An answer that is a 5xx, or that the description does not have, fails.
set -eu
cd "$(dirname "$0")/.."

version=4.32.5
venv=$PWD/.cache/schemathesis-$version
if [ ! -x "$venv/bin/schemathesis" ]; then
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi
SCHEMATHESIS=$venv/bin/schemathesis exec "${GO:-go}" test -count 1 -timeout 1h -v -run TestEveryAnswerIsDescribed ./admin
