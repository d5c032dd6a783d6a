# Reads what a test binary printed with -test.v; prints a line for the package and the output of the tests that failed or
# did not end, and writes "passed failed skipped" to the file sum. Variables: code, pkg, took, logfile, sum.

function root(test) { sub(/\/.*/, "", test); return test }

/^=== (RUN|CONT|NAME|PAUSE) / {
  current = root($3)
  if (!(current in text)) order[++tests] = current
  if ($2 == "RUN") text[current] = text[current] $0 "\n"
  next
}
/^ *--- (PASS|FAIL|SKIP): / {
  if ($2 == "PASS:") passed++
  if ($2 == "SKIP:") skipped++
  if ($2 == "FAIL:") { failed++; bad[root($3)] = 1 }
  current = root($3)
  if ($1 == "---" && $0 !~ /^ /) ended[current] = 1
}
{ text[current] = text[current] $0 "\n" }

END {
  if (code != 0 && !failed) failed = 1 # a panic, a race or a time-out outside of a test's own verdict
  print passed + 0, failed + 0, skipped + 0 > sum
  if (code == 0) {
    printf "ok  \t%s\t%s\n", pkg, took
    exit
  }
  for (i = 1; i <= tests; i++)
    if (order[i] in bad || !(order[i] in ended)) { printf "%s", text[order[i]]; printed = 1 }
  if (!printed) printf "%s", text[current]
  printf "FAIL\t%s\t%s (exit code %d; all of its output: %s)\n", pkg, took, code, logfile
}
