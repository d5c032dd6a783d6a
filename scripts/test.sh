#!/usr/bin/env bash
# Compiles each test binary once and runs it.
#
#   scripts/test.sh [unit] [search] [simulation] [integration]      without arguments: all four
#
# unit: every package but ./integration/... and ./simulation, with the race detector. search: the ordering search and the bugs that it must catch,
# without it, as it would take many times as long; with LAYBY_PROOF=1 also the long forms of the tests beside it. simulation: ./simulation, likewise.
# integration: ./integration/..., one package after the other, with the race detector.
# A line a package, the output of what failed, and at the end "N passed, N failed" (and how many were skipped). What each printed is in build/test.
#
#   COUNT=3        run each test that often       RUN=TestX      only tests that match
#   JOBS=2         binaries at the same time      TIMEOUT=10m    of each binary
#   SEEDS=200      of the simulation              FROM=1         the first of them
#   RACE=1         search and simulation with the race detector, too: the simulation's goroutines run in another order then
set -u -o pipefail
cd "$(dirname "$0")/.."

out=$PWD/build/test
count=${COUNT:-1}
run=${RUN:-}
seeds=${SEEDS:-200}
from=${FROM:-1}
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
[ "$jobs" -le 4 ] || jobs=4
search='^Test(Search|BugsAreCaught)'
[ "${LAYBY_PROOF:-}" != 1 ] || search='^Test(Search|BugsAreCaught|TwinAgrees|KeyTells)'
mkdir -p "$out"
rm -f "$out"/*.log "$out"/*.sum

packages() { # kind -> "import-path directory" of the packages with tests
  local list
  list=$(go list -e -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./...) || return 1
  case $1 in
    unit) grep -v -e '/integration' -e '/simulation ' <<<"$list" ;;
    simulation) grep '/simulation ' <<<"$list" ;;
    search) grep '/ordering ' <<<"$list" ;;
    integration) grep '/integration' <<<"$list" ;;
    *) echo "test.sh: $1 is none of unit, search, simulation, integration" >&2; return 2 ;;
  esac
  return 0
}

name() { # kind and import path -> a file name
  echo "$1-$(tr '/.' '__' <<<"${2#*/*/}")"
}

compile() { # kind import-path
  local race=-race file
  case $1 in search | simulation) [ "${RACE:-}" = 1 ] || race= ;; esac
  file=$out/$(name "$1" "$2")
  # shellcheck disable=SC2086 # no flag at all when race is empty
  if ! go test $race -c -o "$file.test" "$2" >"$file.log" 2>&1; then
    printf 'FAIL\t%s [build failed]\n' "$2"
    cat "$file.log"
    echo "0 1" >"$file.sum"
    rm -f "$file.test"
  fi
}

execute() { # kind import-path directory
  local file begin seconds code=0 args timeout
  file=$out/$(name "$1" "$2")
  [ -e "$file.test" ] || return 0
  case $1 in
    unit) timeout=5m; args=(-test.skip "$search") ;;
    search) timeout=15m; args=(-test.run "$search") ;;
    simulation) timeout=15m; args=(-seeds "$seeds" -from "$from") ;;
    integration) timeout=20m; args=() ;;
  esac
  [ -z "$run" ] || args+=(-test.run "$run")
  echo "0 1" >"$file.sum" # until the report says otherwise
  begin=$(date +%s%N)
  (cd "$3" && exec "$file.test" -test.v -test.paniconexit0 -test.count="$count" \
    -test.timeout="${TIMEOUT:-$timeout}" ${args[@]+"${args[@]}"}) >"$file.log" 2>&1 </dev/null || code=$?
  seconds=$(($(date +%s%N) - begin))
  printf -v seconds '%d.%03ds' $((seconds / 1000000000)) $((seconds / 1000000 % 1000))
  awk -v code="$code" -v pkg="$2" -v took="$seconds" -v logfile="$file.log" -v sum="$file.sum" -f scripts/report.awk "$file.log"
}

export -f name compile execute
export out count run search seeds from

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(search unit simulation integration)
for kind in "${kinds[@]}"; do
  list=$(packages "$kind") || exit 2
  [ -n "$list" ] || continue
  parallel=$jobs
  [ "$kind" = unit ] || parallel=1
  awk -v k="$kind" '{print k, $1}' <<<"$list" | xargs -P 2 -n 2 bash -c 'compile "$@"' compile
  awk -v k="$kind" '{print k, $1, $2}' <<<"$list" | xargs -P "$parallel" -n 3 bash -c 'execute "$@"' execute
done

shopt -s nullglob
sums=("$out"/*.sum)
if [ ${#sums[@]} -eq 0 ]; then
  echo "0 passed, 0 failed"
  exit 1 # nothing ran: that is no success
fi
awk '{p += $1; f += $2; s += $3}
  END {print p+0 " passed, " f+0 " failed" (s ? ", " s " skipped" : ""); exit (f > 0 || p == 0)}' "${sums[@]}"
