#!/bin/sh
# Runs every unit test given, replays the kept inputs of the fuzz targets given
# (B/tests/fuzz/NAME: one test each), then runs the end-to-end tests; the last
# lines say how many passed and failed. Exit 1 when anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
unit_passed=0
unit_failed=0
fuzz_passed=0
fuzz_failed=0
for t in "$@"; do
	passed=0
	failed=0
	if timeout 300 "$t" >"$t.log" 2>&1; then
		passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1/p' "$t.log")
		echo "ok    $t (${passed:=0})"
	else
		failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$t.log" | head -n 1)
		: "${failed:=1}"
		echo "FAIL  $t"
		cat "$t.log"
	fi
	case $t in
	*/tests/fuzz/*)
		fuzz_passed=$((fuzz_passed + passed))
		fuzz_failed=$((fuzz_failed + failed))
		;;
	*)
		unit_passed=$((unit_passed + passed))
		unit_failed=$((unit_failed + failed))
		;;
	esac
done
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
e2e_failed=$((e2e_failed + e2e_errors))
failed=$((unit_failed + fuzz_failed + e2e_failed))
echo "unit tests:  $unit_passed passed, $unit_failed failed"
echo "fuzz inputs: $fuzz_passed passed, $fuzz_failed failed"
echo "end to end:  ${e2e_passed:-0} passed, $e2e_failed failed"
echo "in all:      $((unit_passed + fuzz_passed + ${e2e_passed:-0})) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "${e2e_passed:-0}" -gt 0 ]
