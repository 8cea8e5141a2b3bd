#!/bin/sh
# A sample of every rig but the soak, and planted faults for each but fuzzing to find, one or some:
# `make check-rigs`, in a quarter of an hour on two cores. With --plants no sample, and all planted
# faults, each for every rig that must find it: `make check-plants`, within an hour. --list names them.
# RIGS="kill fuzz" chooses some; RIGS_JOBS (2) run at once, but for load and soak,
# which are alone; RIGS_SECONDS (900) is the longest that one step may take.
# What each said is in B/rigs/. The last lines say what became of each step; exit 1 when
# one failed. A rig whose script is not there, or that ends with 77 because this
# machine lacks what it needs (a loop device, FUSE), is skipped, and that is said.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
export B
logs=$B/rigs
limit=${RIGS_SECONDS:-900}
case ${1:-} in
--plants | --list)
	PLANTS=all
	export PLANTS
	: "${RIGS:=powercut kill fault damage linear guessing load soak}"
	;;
*)
	: "${PLANTS:=some}"
	: "${RIGS:=powercut kill fault damage linear fuzz guessing load}"
	;;
esac

# The script of a rig, and the faults that it must find.
script_of() {
	case $1 in
	powercut | kill) echo "tests/crash/$1.py" ;;
	fuzz) echo tests/fuzz/run.sh ;;
	guessing | soak) echo "tests/load/$1.py" ;;
	*) echo "tests/$1/$1.py" ;;
	esac
}

plants_of() {
	case $1-$PLANTS in
	powercut-some) echo spool-no-sync ack-early index-no-sync uid-reused removal-lost ;;
	powercut-all) echo spool-no-sync ack-early mark-early file-no-sync index-no-sync uid-reused modseq-back record-no-sync relay-record-lost removal-lost ;;
	kill-some) echo commit-lost relay-record-lost ;;
	kill-all) echo commit-lost relay-done-early relay-record-lost uid-reused answer-early rebuilt-early ;;
	fault-some) echo file-left ;;
	fault-all) echo sync-retried file-left memory-ignored full-ignored memory-kept memory-unseen ;;
	damage-some) echo damage-served ;;
	damage-all) echo damage-served content-unchecked record-unchecked crash-unmarked ;;
	linear-*) echo fields-walked ;;
	guessing-some) echo defence-off ;;
	guessing-all) echo defence-off refusal-early ;;
	load-some) echo shedding-off ;;
	load-all) echo shedding-off count-kept sleeper-lost ;;
	soak-all) echo command-leak tls-left descriptor-left spool-left ;;
	esac
}

# note RIG STEP RESULT SECONDS WHY
note() {
	printf '%-28s %-8s %4s s  %s\n' "$2" "$3" "$4" "$5" >>"$logs/$1.result"
}

# What a rig says of its cases: the line in front of its verdict on a planted fault.
cases_of() {
	tail -n 2 "$1" | head -n 1
}

# step RIG NAME COMMAND...: runs it, shows its last lines, notes what became of it.
step() {
	rig=$1
	name=$2
	log=$logs/$(echo "$name" | tr ' ' -).log
	shift 2
	begun=$(date +%s)
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
	code=$?
	took=$(($(date +%s) - begun))
	lines=12
	if [ "$code" -eq 0 ]; then
		note "$rig" "$name" ok "$took" "$([ "$PLANTS" != all ] || cases_of "$log")"
	elif [ "$code" -eq 77 ] || grep -q '^make.*Error 77$' "$log"; then
		note "$rig" "$name" skipped "$took" "$(grep -v '^make' "$log" | tail -n 1)"
	else
		lines=60
		[ "$code" -ne 124 ] || code="no end within $limit s"
		note "$rig" "$name" FAILED "$took" "exit $code: $log"
	fi
	# In one piece: another rig may say something at the same time.
	printf '== %s\n%s\n' "$name" "$(tail -n "$lines" "$log")"
}

# The sample, then the planted faults.
run_rig() {
	: >"$logs/$1.result"
	if [ ! -x "$(script_of "$1")" ]; then
		note "$1" "$1" skipped 0 "$(script_of "$1") is not there"
		return
	fi
	if [ "$1" = fuzz ]; then
		[ "$PLANTS" = all ] || step fuzz fuzz make -s fuzz-short
		return
	fi
	[ "$PLANTS" = all ] || step "$1" "$1" make -s "check-$1" RIG=--sample
	for plant in $(plants_of "$1"); do
		step "$1" "$1 finds $plant" make -s "check-$1" RIG="--plant $plant"
	done
}

case ${1:-} in
--one)
	run_rig "$2"
	exit 0
	;;
--list)
	for r in $RIGS; do
		for plant in $(plants_of "$r"); do echo "$r $plant"; done
	done
	exit 0
	;;
esac

mkdir -p "$logs"
# What is compiled first is no part of a rig's time.
build() {
	make -s -j2 "$@" >"$logs/build.log" 2>&1 && return
	tail -n 20 "$logs/build.log"
	exit 1
}
build all tests
case " $RIGS " in *" fuzz "*) build fuzzers-short ;; esac
others=$(echo " $RIGS " | sed 's/ load / /; s/ soak / /')
# shellcheck disable=SC2086
printf '%s\n' $others | xargs -r -P "${RIGS_JOBS:-2}" -n 1 "$0" --one
for r in load soak; do
	case " $RIGS " in *" $r "*) run_rig "$r" ;; esac
done
echo
for r in $RIGS; do
	cat "$logs/$r.result"
done >"$logs/results"
cat "$logs/results"
! grep -q ' FAILED ' "$logs/results"
