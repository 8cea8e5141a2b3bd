#!/bin/sh
# Runs every unit test given, then the end-to-end tests; the last lines say how
# many passed and failed. Exit 1 when anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0
for t in "$@"; do
	if timeout 120 "$t" >"$t.log" 2>&1; then
		n=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1/p' "$t.log")
		echo "ok    $t (${n:-0})"
		passed=$((passed + ${n:-0}))
	else
		n=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$t.log" | head -n 1)
		echo "FAIL  $t"
		cat "$t.log"
		failed=$((failed + ${n:-1}))
	fi
done
unit="$passed passed, $failed failed"
log="${B:-build}/e2e.log"
# E2E holds further options of pytest.
# shellcheck disable=SC2086
/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/e2e ${E2E:-} 2>&1 | tee "$log"
count() {
	tail -n 1 "$log" | sed -n "s/.*[^0-9]*\b\([0-9][0-9]*\) $1.*/\1/p"
}
e2e_passed=$(count passed)
e2e_failed=$(($(count failed || echo 0) + 0))
e2e_errors=$(($(count error || echo 0) + 0))
echo "unit tests:  $unit"
echo "end to end:  ${e2e_passed:-0} passed, $((e2e_failed + e2e_errors)) failed"
echo "in all:      $((passed + ${e2e_passed:-0})) passed, $((failed + e2e_failed + e2e_errors)) failed"
[ "$failed" -eq 0 ] && [ $((e2e_failed + e2e_errors)) -eq 0 ] && [ "${e2e_passed:-0}" -gt 0 ]
