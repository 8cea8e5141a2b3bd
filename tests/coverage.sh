#!/bin/sh
# Runs the unit tests given, built with --coverage below $B, and prints how many
# lines of each file of lib/ they ran, the fewest first. FILE=lib/DIR/NAME.c shows
# that file instead, with ##### before the lines that never ran.
set -u
cd "$(dirname "$0")/.." || exit 1
GCOV=${GCOV:-gcov}
failed=0
find "$B" -name '*.gcda' -delete
for t in "$@"; do
	"$t" >"$t.log" 2>&1 || {
		cat "$t.log"
		echo "FAIL  $t"
		failed=1
	}
done
if [ -n "${FILE:-}" ]; then
	$GCOV -t "$B/obj/${FILE%.c}.gcno" 2>/dev/null
	exit "$failed"
fi
# gcov says "File 'NAME'", then "Lines executed:P% of N"; an object that no program contains counts as not run.
find "$B/obj/lib" -name '*.gcno' -exec "$GCOV" -n {} + 2>/dev/null | awk -F"[':% ]" '
	/^File/ { name = $3 }
	/^Lines executed/ && name ~ /^lib\/.*\.c$/ { printf "%6.1f %% of %4d  %s\n", $3, $6, name }
	{ if (!/^File/) name = "" }' | sort -n >"$B/coverage.txt"
cat "$B/coverage.txt"
awk '{ run += $1 * $4 / 100; all += $4 } END { printf "%6.1f %% of %d lines\n", all ? 100 * run / all : 0, all }' \
	"$B/coverage.txt"
exit "$failed"
