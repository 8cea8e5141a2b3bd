#!/bin/sh
# Runs every unit test given, replays the kept inputs of the fuzz targets given
# (B/tests/fuzz/NAME: one test each), then runs the end-to-end tests; the last
# lines say how many passed and failed. Exit 1 when anything failed.
# UNIT_JOBS (all processors) and E2E_JOBS (4: they wait more than they work) run at once; end-to-end tests that
# are marked `alone` run after the others (E2E_ALONE=no: not at all). E2E holds further options of pytest. E2E_AGAIN (2): see below.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}

# Leaves "NAME passed failed" in NAME.result; what it says is in one piece.
one() {
	t=$1
	passed=0
	failed=0
	if timeout 900 "$t" >"$t.log" 2>&1; then
		passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1/p' "$t.log")
		echo "ok    $t (${passed:=0})"
	else
		failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$t.log" | head -n 1)
		: "${failed:=1}"
		printf 'FAIL  %s\n%s\n' "$t" "$(cat "$t.log")"
	fi
	echo "$t $passed $failed" >"$t.result"
}

if [ "${1:-}" = --one ]; then
	one "$2"
	exit 0
fi

# The longest first, so that no processor is idle at the end.
first='/(framing_exhaustive|linear_time|sign|password_change)_test$'
{
	printf '%s\n' "$@" | grep -E "$first"
	printf '%s\n' "$@" | grep -vE "$first"
} >"$B/tests.list"
sed 's/$/.result/' "$B/tests.list" | xargs rm -f
xargs -P "${UNIT_JOBS:-$(nproc)}" -n 1 "$0" --one <"$B/tests.list"

# sum PATTERN FIELD: over the tests whose names match; one that left no result has failed.
sum() {
	while IFS= read -r t; do
		if [ -f "$t.result" ]; then cat "$t.result"; else echo "$t 0 1"; fi
	done <"$B/tests.list" | awk -v fuzz="$1" -v field="$2" '($1 ~ "/tests/fuzz/") == fuzz { n += $field } END { print n + 0 }'
}
unit_passed=$(sum 0 2)
unit_failed=$(sum 0 3)
fuzz_passed=$(sum 1 2)
fuzz_failed=$(sum 1 3)

# e2e LOG OPTIONS...: a run that ended before its last line has failed too, whatever was counted. 0: passed, 5: no such test.
e2e() {
	log=$1
	shift
	{
		# shellcheck disable=SC2086
		/usr/bin/python3 -m pytest -q -o cache_dir="$(realpath "$B")/e2e-cache" tests/e2e "$@" ${E2E:-} 2>&1
		echo $? >"$log.code"
	} | tee "$log"
	case $(cat "$log.code") in
	0 | 5) return 0 ;;
	*) return 1 ;;
	esac
}
# count WORD LOG...: what the last lines say of it.
count() {
	word=$1
	shift
	for log in "$@"; do
		tail -n 1 "$log" | sed -n "s/.*[^0-9]*\b\([0-9][0-9]*\) $word.*/\1/p"
	done | awk '{ n += $1 } END { print n + 0 }'
}
failures() {
	echo $(($(count failed "$@") + $(count error "$@")))
}

# Of thousands of tests that wait for other processes one may meet a machine that stands still at the wrong moment. So few as E2E_AGAIN
# are tried once more, by themselves, and the summary names them: a test that is not steady is a fault all the same, its own or the
# suite's, and both failures and names are there to find it by. What crashed, or what a sanitizer or an invariant found, has failed.
again() {
	[ "$(cat "$1.code")" = 1 ] && [ "$(failures "$1")" -le "${E2E_AGAIN:-2}" ] || return 1
	! grep -qE 'AddressSanitizer|LeakSanitizer|runtime error:|invariant|processes that crashed' "$1" || return 1
	echo "the tests that failed, once more:"
	e2e "$1.again" -p no:xdist --last-failed --last-failed-no-failures none
}
# attempt LOG OPTIONS...
attempt() {
	: >"$1.again"
	e2e "$@" || again "$1" || e2e_ended=no
}
e2e_ended=yes
rm -rf "$B/e2e-cache"
attempt "$B/e2e.log" -n "${E2E_JOBS:-4}" --dist loadfile -m "not alone"
if [ "${E2E_ALONE:-yes}" = yes ]; then
	attempt "$B/e2e-alone.log" -p no:xdist -m alone
else
	: >"$B/e2e-alone.log"
	: >"$B/e2e-alone.log.again"
fi
unsteady=$(count passed "$B/e2e.log.again" "$B/e2e-alone.log.again")
e2e_passed=$(($(count passed "$B/e2e.log" "$B/e2e-alone.log") + unsteady))
e2e_failed=$(($(failures "$B/e2e.log" "$B/e2e-alone.log") - unsteady))
failed=$((unit_failed + fuzz_failed + e2e_failed))
echo "unit tests:  $unit_passed passed, $unit_failed failed"
echo "fuzz inputs: $fuzz_passed passed, $fuzz_failed failed"
echo "end to end:  $e2e_passed passed, $e2e_failed failed"
if [ "$unsteady" -gt 0 ]; then
	echo "not steady:  $unsteady of them passed at the second try only:"
	sed -nE 's/^(FAILED|ERROR) ([^ ]*).*/             \2/p' "$B/e2e.log" "$B/e2e-alone.log"
fi
echo "in all:      $((unit_passed + fuzz_passed + e2e_passed)) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$e2e_passed" -gt 0 ] && [ "$e2e_ended" = yes ]
