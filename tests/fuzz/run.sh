#!/bin/sh
# Runs fuzz targets, FUZZ_SECONDS each and FUZZ_JOBS of them at once: `make fuzz`,
# `make fuzz-short`. What they find out is kept in B/fuzz/corpus/NAME for the next
# time. A finding ends it with 1 when those that run have ended, and the input
# that shows it is named.
set -u
cd "$(dirname "$0")/../.." || exit 1
fuzz=$(cd "${B:-build}" && pwd)/fuzz
kept=$PWD/tests/fuzz
seconds=${FUZZ_SECONDS:-60}
# Leaks are looked for at the end of each run as well; memory given back is used again soon.
ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=16:detect_stack_use_after_return=1}
export ASAN_OPTIONS

run_one() {
	name=$1
	scratch=$fuzz/corpus/$name
	mkdir -p "$scratch" "$fuzz/findings"
	if [ ! -d "$kept/corpus/$name" ]; then
		echo "fuzz: $name has no kept inputs in tests/fuzz/corpus/$name" >&2
		return 1
	fi
	dict=
	[ ! -f "$kept/$name.dict" ] || dict=-dict=$kept/$name.dict
	# driver.c holds each input to a second of processor time and 64 MB; this is for what never returns.
	# shellcheck disable=SC2086
	if ! "$fuzz/$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -max_len="${FUZZ_MAX_LEN:-8192}" \
		-print_final_stats=1 -verbosity=0 $dict -artifact_prefix="$fuzz/findings/$name-" \
		"$scratch" "$kept/corpus/$name" >"$fuzz/$name.log" 2>&1; then
		tail -n 60 "$fuzz/$name.log"
		found=$(sed -n 's/.*Test unit written to //p' "$fuzz/$name.log" | tail -n 1)
		echo "fuzz: $name failed; the whole of what it said: $fuzz/$name.log" >&2
		[ -z "$found" ] || echo "fuzz: the input that shows it: $found" >&2
		return 1
	fi
	echo "fuzz: $name, $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz/$name.log") inputs"
}

if [ "${1:-}" = --one ]; then
	run_one "$2" || exit 255 # xargs then begins no other
	exit 0
fi
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-1}" -n 1 "$0" --one || exit 1
