#!/bin/sh
# What the compiler does not see: scripts, manual pages, white space, comments,
# includes that go upwards, pages that do not fit the programs; and what the scripts in
# lint/ look at. `make lint` runs it. B is the build directory. Names every fault and
# ends with 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
faults=0

fault() {
	printf '%s\n' "$*"
	faults=$((faults + 1))
}

# Each line of standard input is a fault; $1 says what is wrong with it.
each_is_fault() {
	while IFS= read -r line; do
		fault "$line: $1"
	done
}

# Files of the project, also those not yet added; without what is being removed.
files() {
	git ls-files -co --exclude-standard -- "$@" | while IFS= read -r f; do
		[ -f "$f" ] && printf '%s\n' "$f"
	done
}

for tool in shellcheck mandoc; do
	command -v "$tool" >/dev/null 2>&1 || {
		printf 'lint: %s is missing; on Debian, as root: apt-get install %s\n' "$tool" "$tool" >&2
		exit 1
	}
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# ---- scripts ----
files | while IFS= read -r f; do
	head -n 1 "$f" | grep -q '^#! */bin/sh' && printf '%s\n' "$f"
done >"$work/scripts"
while IFS= read -r f; do
	shellcheck "$f" >"$work/out" 2>&1 || {
		cat "$work/out"
		fault "$f: shellcheck"
	}
done <"$work/scripts"

# ---- white space ----
files '*.c' '*.h' '*.def' '*.md' '*.sh' '*.py' '*.[158]' '*.in' Makefile configure >"$work/text"
xargs grep -nE '[ 	]+$' <"$work/text" | cut -d: -f1,2 >"$work/out"
each_is_fault 'blanks at the end of the line' <"$work/out"
xargs grep -lF "$(printf '\r')" <"$work/text" >"$work/out"
each_is_fault 'a carriage return' <"$work/out"
files '*.c' '*.h' | xargs grep -nE '^        ' | cut -d: -f1,2 >"$work/out"
each_is_fault 'indented with blanks in place of tabs' <"$work/out"
while IFS= read -r f; do
	[ -z "$(tail -c 1 "$f")" ] || fault "$f: no newline at the end"
done <"$work/text"

# ---- paths of one machine ----
files | grep -v '^tests/lint\.sh$' | xargs grep -nIE '(^|[^A-Za-z0-9_.])/(work|home|root|Users)/' >"$work/out"
each_is_fault 'a path of one machine' <"$work/out"

# ---- comments: what a file is for stands at its head, or at the head of its header ----
says_what() {
	[ -f "$1" ] && head -n 1 "$1" | grep -q '^/\*'
}
files '*.c' '*.h' '*.def' >"$work/sources"
while IFS= read -r f; do
	says_what "$f" || says_what "${f%.*}.h" || fault "$f: no comment at its head, nor at its header's"
	[ "$(wc -l <"$f")" -le 1000 ] || fault "$f: longer than 1000 lines"
done <"$work/sources"

# ---- includes: lib/ downwards only; a daemon from lib/ and its own folder ----
files 'lib/*.[ch]' | xargs grep -nE '^#include "[a-z]+/' | awk -F'[:"]' '
	BEGIN {
		split("base 0 ipc 1 conf 1 proc 1 control 1 net 2 tls 2 dns 2 smtp 3 imap 3 mime 3 sasl 3 oauth 3 sts 3 tlsrpt 3 alias 3 spool 4 store 4 intake 5 local 5", w, " ")
		for (i = 1; i in w; i += 2)
			level[w[i]] = w[i + 1]
	}
	{
		split($1, from, "/"); split($4, to, "/")
		if (!(from[2] in level) || !(to[1] in level))
			print $1 ":" $2 ": " $4 " is in no known level of lib/"
		# The skeleton of a daemon and what hangs on it are the one place where 1 knows the channel of 2.
		else if (level[to[1]] > level[from[2]] && $4 != "net/ipc_conn.h")
			print $1 ":" $2 ": includes " $4 ", which is above it"
	}' >"$work/out"
each_is_fault 'lib/ includes downwards only' <"$work/out"
for daemon in keys resolve auth fetch smtpd submission queue relay imapd lmtp master; do
	files "$daemon/*.[ch]" | xargs grep -nE '^#include "(keys|resolve|auth|fetch|smtpd|submission|queue|relay|imapd|lmtp|master)/' |
		grep -v "#include \"$daemon/" >"$work/out"
	each_is_fault "a daemon uses lib/ and its own folder" <"$work/out"
done

# ---- manual pages ----
pages="man/*.1 man/*.8 $B/man/mailwain.conf.5 $B/man/mailwain-log.5"
for page in $pages; do
	[ -f "$page" ] || {
		fault "$page: is missing"
		continue
	}
	# Whether pages of other packages are installed here says nothing about ours.
	mandoc -Tlint -Wwarning "$page" 2>&1 | grep -v 'mandoc.db' >"$work/out"
	each_is_fault 'mandoc' <"$work/out"
	# Ql quotes the rest of its line: a second one would stand within the first.
	grep -nE '^\..*Ql .* Ql ' "$page" | sed "s|^\([0-9]*\):.*|$page:\1|" >"$work/out"
	each_is_fault 'a quote within a quote' <"$work/out"
	sed -n 's/^\.Xr \(mailwain[^ ]*\) \([158]\).*/\1 \2/p' "$page" | sort -u | while read -r name section; do
		[ -f "man/$name.$section" ] || [ -f "man/$name.$section.in" ] || printf '%s\n' "$page: $name($section)"
	done >"$work/out"
	each_is_fault 'no such page' <"$work/out"
done

# A page for each program, a program for each page.
make -pn B="$B" 2>/dev/null | sed -n 's/^\(DAEMONS\|COMMANDS\|LINKS\|LOCAL_PROGRAMS\) := //p' | tr ' ' '\n' |
	sed -e 's/:.*//' -e 's/^mailwain-//' -e '/^$/d' | sort -u >"$work/programs"
for page in man/*.[18]; do
	name=$(basename "${page%.*}")
	grep -qx "${name#mailwain-}" "$work/programs" || fault "$page: there is no program of this name"
done
while IFS= read -r program; do
	[ "$program" = mailwain ] || [ -f "man/mailwain-$program.8" ] || [ -f "man/$program.1" ] || fault "$program: has no manual page"
done <"$work/programs"

# Each setting and each event is in its page.
sed -n 's/^SETTING([a-z_0-9]*, "\([^"]*\)".*/.It Ic \1 Ar/p' lib/conf/schema.def >"$work/rows"
while IFS= read -r row; do
	grep -qF "$row" "$B/man/mailwain.conf.5" || fault "mailwain.conf(5) lacks: $row"
done <"$work/rows"
sed -n 's/^EVENT(\([a-z_]*\),.*/.It Sy \1 /p' lib/base/events.def >"$work/rows"
while IFS= read -r row; do
	grep -qF "$row" "$B/man/mailwain-log.5" || fault "mailwain-log(5) lacks: $row"
done <"$work/rows"

# ---- packaging: the users of the daemons ----
sed -n 's/^PROFILE("[^"]*", "\([^"]*\)".*/mw-\1/p' lib/proc/profiles.def | sort -u >"$work/users"
sed -n 's/^u \([^ ]*\).*/\1/p' packaging/mailwain.sysusers | sort | cmp -s - "$work/users" ||
	fault 'packaging/mailwain.sysusers: not the users of lib/proc/profiles.def'

# ---- sizes, linked programs, documents ----
for part in tests/lint/*.sh; do
	B="$B" sh "$part" >"$work/out" 2>&1
	while IFS= read -r line; do
		fault "$line"
	done <"$work/out"
done

if [ "$faults" -gt 0 ]; then
	printf 'lint: %d faults\n' "$faults"
	exit 1
fi
printf 'lint: no faults\n'
