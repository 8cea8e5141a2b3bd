#!/bin/sh
# The size of things: a function fits a screen, nesting goes to 4, a file has one idea.
# Prints a fault a line. tests/lint.sh runs it.
set -u
cd "$(dirname "$0")/../.." || exit 1

git ls-files -co --exclude-standard -- '*.c' '*.h' '*.def' | while IFS= read -r f; do
	[ -f "$f" ] && awk -v f="$f" '
		/^\{/ { begin = NR }
		/^\}/ && begin {
			if (NR - begin > 61)
				print f ":" begin ": a function of " NR - begin - 1 " lines; 60 are a screen"
			begin = 0
		}
		# Five tabs are four levels within a function; an operator in front continues a line.
		/^\t\t\t\t\t\t[a-z}]/ { print f ":" NR ": nested deeper than four levels" }
		END {
			if (NR > 600)
				print f ": " NR " lines; what is the second idea in it?"
		}' "$f"
done
