#!/bin/sh
# Runs fuzz targets, FUZZ_SECONDS each: `make fuzz`. What they find out is kept
# in B/fuzz/corpus/NAME for the next time. Stops at the first finding, names the
# input that shows it, and ends with 1.
set -u
cd "$(dirname "$0")/../.." || exit 1
fuzz=$(cd "${B:-build}" && pwd)/fuzz
kept=$PWD/tests/fuzz
seconds=${FUZZ_SECONDS:-60}
# Leaks are looked for at the end of each run as well; memory given back is used again soon.
ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=16:detect_stack_use_after_return=1}
export ASAN_OPTIONS

for name in "$@"; do
	scratch=$fuzz/corpus/$name
	mkdir -p "$scratch" "$fuzz/findings"
	[ -d "$kept/corpus/$name" ] || {
		echo "fuzz: $name has no kept inputs in tests/fuzz/corpus/$name" >&2
		exit 1
	}
	dict=
	[ ! -f "$kept/$name.dict" ] || dict=-dict=$kept/$name.dict
	echo "== $name, $seconds s"
	# driver.c holds each input to a second of processor time and 64 MB; this is for what never returns.
	# shellcheck disable=SC2086
	if ! "$fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len="${FUZZ_MAX_LEN:-8192}" \
		-print_final_stats=1 -verbosity=0 $dict -artifact_prefix="$fuzz/findings/$name-" \
		"$scratch" "$kept/corpus/$name" >"$fuzz/$name.log" 2>&1; then
		tail -n 60 "$fuzz/$name.log"
		found=$(sed -n 's/.*Test unit written to //p' "$fuzz/$name.log" | tail -n 1)
		echo "fuzz: $name failed; the whole of what it said: $fuzz/$name.log" >&2
		[ -z "$found" ] || echo "fuzz: the input that shows it: $found" >&2
		exit 1
	fi
	sed -n 's/^stat::number_of_executed_units: */   inputs tried: /p' "$fuzz/$name.log"
done
