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

# e2e LOG FILES-AND-OPTIONS...: 0 when all passed, or there was no such test (5).
e2e() {
	log=$1
	shift
	{
		# shellcheck disable=SC2086
		/usr/bin/python3 -m pytest -q -p no:cacheprovider "$@" ${E2E:-} 2>&1
		echo $? >"$log.code"
	} | tee "$log"
	case $(cat "$log.code") in
	0 | 5) return 0 ;;
	*) return 1 ;;
	esac
}
# count WORD LOG: what the last line says of it.
count() {
	n=$(tail -n 1 "$2" | sed -n "s/.*[^0-9]*\b\([0-9][0-9]*\) $1.*/\1/p")
	echo "${n:-0}"
}
# Their names, one a line.
failures() {
	sed -nE 's/^(FAILED|ERROR) (tests[^ ]*::[^ ]*).*/\2/p' "$1" | sort -u
}

# Of thousands of tests that wait for other processes one may meet a machine that stands still at the wrong moment. When no more than
# E2E_AGAIN have failed, their files are run once more, in their order, and the last lines name those tests: what is not steady is a
# fault all the same, its own or the suite's, and its first failure is there to find it by. Where something crashed, or a sanitizer
# or an invariant spoke, or the run was cut short, there is no second try.
again() {
	tries=$(failures "$1" | wc -l)
	[ "$(cat "$1.code")" = 1 ] && [ "$tries" -ge 1 ] && [ "$tries" -le "${E2E_AGAIN:-2}" ] || return 1
	! grep -qE 'AddressSanitizer|LeakSanitizer|runtime error:|invariant|processes that crashed|: exit -[0-9]|stopping after|error.* during collection' "$1" || return 1
	echo "the files of what failed, once more:"
	# shellcheck disable=SC2046
	e2e "$1.again" -p no:xdist -m "$2" $(failures "$1" | sed 's/::.*//' | sort -u) && [ "$(cat "$1.again.code")" = 0 ]
}
# attempt LOG MARKS OPTIONS...
e2e_passed=0
e2e_failed=0
e2e_ended=yes
unsteady=
attempt() {
	of=$1
	marks=$2
	shift 2
	if e2e "$of" -m "$marks" "$@" tests/e2e; then
		e2e_passed=$((e2e_passed + $(count passed "$of")))
	elif again "$of" "$marks"; then
		e2e_passed=$((e2e_passed + $(count passed "$of") + tries))
		unsteady="$unsteady $(failures "$of" | tr '\n' ' ')"
	else
		e2e_passed=$((e2e_passed + $(count passed "$of")))
		e2e_failed=$((e2e_failed + $(count failed "$of") + $(count error "$of")))
		e2e_ended=no
	fi
}
attempt "$B/e2e.log" "not alone" -n "${E2E_JOBS:-4}" --dist loadfile
[ "${E2E_ALONE:-yes}" != yes ] || attempt "$B/e2e-alone.log" alone -p no:xdist
failed=$((unit_failed + fuzz_failed + e2e_failed))
echo "unit tests:  $unit_passed passed, $unit_failed failed"
echo "fuzz inputs: $fuzz_passed passed, $fuzz_failed failed"
echo "end to end:  $e2e_passed passed, $e2e_failed failed"
for t in $unsteady; do echo "not steady:  $t: only the second try passed"; done
echo "in all:      $((unit_passed + fuzz_passed + e2e_passed)) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$e2e_passed" -gt 0 ] && [ "$e2e_ended" = yes ]
