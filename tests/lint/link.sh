#!/bin/sh
# What the linker knows: state that outlives a call, functions nobody uses, what a daemon
# of the network must not contain. Prints a fault a line. tests/lint.sh runs it; B is the
# build directory, in which everything must have been made.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# ---- variables: in a file with main() only ----
# Besides: the log is the process's own; a signal handler must leave its mark somewhere;
# buffers whose bytes mean nothing after the call; a table that is made once and never changed.
cat >"$work/allowed" <<'END'
lib/base/log.o log_state
lib/control/client.o buffer
lib/control/command.o options
lib/mime/fold.o table
lib/oauth/claims.o has_starved
queue/deliver.o small
queue/outbound.o small
lib/net/conn.o scratch
lib/net/ipc_conn.o received
lib/net/ipc_conn.o wire
imapd/session_io.o buffer
lmtp/worker.o worker_told_to_end
lmtp/agent_run.o supervised
lib/store/crash.o before
lib/store/crash.o watched
END
find "$B/obj" -name '*.o' ! -path "$B/obj/tests/*" ! -path "$B/obj/man/*" | sort >"$work/objects"
[ -s "$work/objects" ] || {
	echo "$B/obj: nothing was built"
	exit
}
# object:symbol|value|class|type|size|line|section
xargs nm -A -f sysv <"$work/objects" 2>/dev/null | sed "s|^$B/obj/||" | tr -d ' ' >"$work/symbols"
awk -F'[:|]' '
	$2 == "main" { has_main[$1] = 1 }
	$8 ~ /^\.t?(bss|data)$/ || $4 == "C" { sub(/\.[0-9]+$/, "", $2); at[$1 " " $2] = $1 }
	END {
		for (v in at)
			if (!(at[v] in has_main))
				print v
	}' "$work/symbols" >"$work/variables"
grep -vxFf "$work/allowed" "$work/variables" | sed 's/$/: a variable outside main/'
grep -vxFf "$work/variables" "$work/allowed" | sed "s|\$|: tests/lint/link.sh allows a variable that is not there|"

# ---- functions: named somewhere besides their definition ----
# A prototype and the function itself are two; COMMAND_DECLARE of imapd/session.h makes names of its own.
git ls-files -co --exclude-standard -- '*.c' '*.h' '*.def' | xargs cat | grep -oE '[A-Za-z_][A-Za-z_0-9]*' | sort | uniq -c |
	awk '$1 <= 2 { print $2 }' >"$work/twice"
awk -F'[:|]' '$4 == "T" && $8 == ".text" { print $2 }' "$work/symbols" | sort -u | grep -Fxf "$work/twice" |
	grep -v "^command_" |
	sed 's/$/: nobody calls it/'

# ---- private keys are read by keys alone ----
for daemon in smtpd submission imapd lmtpd; do
	nm -D -u "$B/libexec/$daemon" | grep -E 'PrivateKey_bio|PEM_read_bio_PrivateKey|d2i_.*PrivateKey' | awk '{ print $NF }' | sed "s/^/$daemon: contains /"
done

# ---- PAM is called by auth-pam alone ----
for daemon in $(cd "$B/libexec" && ls); do
	[ "$daemon" = auth-pam ] || nm -D -u "$B/libexec/$daemon" 2>/dev/null | grep -E ' pam_' | awk '{ print $NF }' | sed "s/^/$daemon: contains /"
done

# ---- pickup has its own directory: nothing of the others', no connections, no other programs ----
{
	nm -D -u "$B/libexec/pickup"
	nm --defined-only "$B/libexec/pickup"
} | awk '{ print $NF }' | sed 's/@.*//' | grep -E '^(mdb_|idn2_|crypto_pwhash|store_|directory_|grant_|spool_(commit|append|read)$|fork$|exec|posix_spawn|system$|popen$|dlopen$|connect$|bind$)' |
	sed "s/^/pickup: contains /"

# ---- daemons of the network: no mail store, no directory, no spool, no other programs ----
for daemon in smtpd submission imapd lmtpd; do
	[ -x "$B/libexec/$daemon" ] || {
		echo "$daemon: was not built"
		continue
	}
	{
		nm -D -u "$B/libexec/$daemon"
		nm --defined-only "$B/libexec/$daemon"
	} | awk '{ print $NF }' | sed 's/@.*//' | grep -E '^(mdb_|pam_(start|authenticate|acct_mgmt|end)$|idn2_|crypto_pwhash|store_|directory_|grant_|spool_(commit|append|read)$|fork$|exec|posix_spawn|system$|popen$|dlopen$|glob$|fopen|opendir$|unlink|rename|mkdir|connect$|bind$)' |
		sed "s/^/$daemon: contains /"
done
