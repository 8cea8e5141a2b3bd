#!/bin/sh
# Documents against sources: what is promised is there, what is there is told. Prints a
# fault a line. tests/lint.sh runs it.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

files() {
	git ls-files -co --exclude-standard -- "$@" | while IFS= read -r f; do
		[ -f "$f" ] && printf '%s\n' "$f"
	done
}

# ---- every event is logged somewhere, every setting asked for ----
files '*.c' '*.h' | grep -v '^tests/' >"$work/sources"
used() {
	xargs grep -ohE "$1[A-Za-z_0-9]+" <"$work/sources" | sort -u >"$work/used"
	while IFS= read -r name; do
		grep -qx "$1$name" "$work/used" || printf '%s: %s is used nowhere\n' "$2" "$name"
	done
}
sed -n 's/^EVENT(\([a-z_0-9]*\),.*/\1/p' lib/base/events.def | used EV_ lib/base/events.def
sed -n 's/^SETTING(\([a-z_0-9]*\),.*/\1/p' lib/conf/schema.def | used CONF_ lib/conf/schema.def

# ---- every folder says what it is for; a daemon's says what it may do ----
files '*.c' '*.py' | xargs -n 1 dirname | grep -v '^tests/unit/' | sort -u | while IFS= read -r folder; do
	[ "$folder" = man ] || [ "$folder" = . ] || [ -f "$folder/README.md" ] || [ -f "${folder%/*}/README.md" ] ||
		printf '%s: has no README.md\n' "$folder"
done
for daemon in keys resolve auth fetch smtpd submission queue relay imapd lmtp master; do
	for row in 'Runs as' 'Listens and connects' Messages Files Trusts; do
		grep -q "^| $row" "$daemon/README.md" || printf '%s/README.md: does not say: %s\n' "$daemon" "$row"
	done
done

# ---- every page is to be found from mailwain(1) ----
for page in man/*.8 man/*.5.in; do
	name=$(basename "$page" .in)
	name=${name%.[58]}
	grep -q "^\.Xr $name [58]" man/mailwain.1 || printf 'man/mailwain.1: does not lead to %s\n' "$name"
done

# ---- files that documents name are there ----
files '*.md' | while IFS= read -r doc; do
	grep -oE "\`[A-Za-z0-9_./-]+\\.(c|h|def|md|py|sh|dlg)\`" "$doc" | tr -d "\`" | sort -u | while IFS= read -r name; do
		for place in "$(dirname "$doc")/" "" lib/ tests/; do
			[ -f "$place$name" ] && continue 2
		done
		printf '%s: there is no %s\n' "$doc" "$name"
	done
done

# ---- doc/rfc.md against the sources, both ways ----
# cited: "RFC SECTION FILE"; a comment's lines are joined first, "sections 1 and 2" are two.
files '*.c' '*.h' '*.def' | grep -v '^tests/' | while IFS= read -r f; do
	tr '\n' ' ' <"$f" | sed -E 's/ [ 	]*\*[ 	]+/ /g' |
		grep -oE 'RFC [0-9]+( sections? [A-Z0-9][0-9.]*((, | and | to )[A-Z0-9][0-9.]*[0-9])*| appendix [A-Z][.0-9]*)?' |
		sed -E 's/ (sections?|appendix) / /; s/,? (and|to) |, / /g' |
		awk -v f="$f" '{
			sub(/\.[a-z]+$/, "", f)
			if (NF == 2)
				print $2, "-", f
			for (i = 3; i <= NF; i++) {
				sub(/\.$/, "", $i)
				print $2, $i, f
			}
		}'
done | sort -u >"$work/cited"
# told: "RFC SECTION FILE" of the column of sources, "test FILE" of that of tests.
awk -F'|' '
	/^## RFC / { rfc = $1; sub(/^## RFC /, "", rfc); sub(/:.*/, "", rfc) }
	/^\| / && rfc && $2 !~ /section/ {
		gsub(/ /, "", $2)
		n = split($4, code, " ")
		for (i = 1; i <= n; i++)
			print rfc, $2, code[i]
		n = split($5, test, " ")
		for (i = 1; i <= n; i++)
			if (test[i] != "-")
				print "test", test[i]
	}' doc/rfc.md >"$work/told"
sed -n 's/^test //p' "$work/told" | sort -u | while IFS= read -r name; do
	[ -f "tests/$name" ] || printf 'doc/rfc.md: there is no tests/%s\n' "$name"
done
grep -v '^test ' "$work/told" | while read -r rfc section file; do
	[ -f "$file" ] || printf 'doc/rfc.md: there is no %s\n' "$file"
	grep -q "^$rfc .* ${file%.*}$" "$work/cited" ||
		printf 'doc/rfc.md: %s does not cite RFC %s, to which section %s is ascribed\n' "$file" "$rfc" "$section"
done
sed 's/\.[a-z]*$//' "$work/told" >"$work/known"
while IFS= read -r cited; do
	grep -qxF "$cited" "$work/known" || printf 'doc/rfc.md lacks: RFC %s\n' "$cited"
done <"$work/cited"
