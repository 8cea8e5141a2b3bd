#!/bin/sh
# A sample of every rig, and one planted fault for each to find: `make check-rigs`,
# within ten minutes on two cores. RIGS="kill fuzz" chooses some; RIGS_SECONDS (150) is the
# longest that one step may take. What each said is in B/rigs/. The last lines say what
# became of each step; exit 1 when one failed. A rig whose script is not there, or that ends with
# 77 because this machine lacks what it needs (a loop device, FUSE), is skipped, and that is said.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
logs=$B/rigs
results=$logs/results
limit=${RIGS_SECONDS:-150}
: "${RIGS:=framing linear fuzz powercut kill fault damage load}"
mkdir -p "$logs"
: >"$results"
failed=0

# The script of a rig, and the fault that it must find.
script_of() {
	case $1 in
	powercut) echo tests/crash/powercut.py ;;
	kill) echo tests/crash/kill.py ;;
	fault) echo tests/fault/fault.py ;;
	damage) echo tests/damage/damage.py ;;
	linear) echo tests/linear/linear.py ;;
	load) echo tests/load/load.py ;;
	esac
}

plant_of() {
	case $1 in
	powercut) echo spool-no-sync ;;
	kill) echo commit-lost ;;
	fault) echo file-left ;;
	damage) echo damage-served ;;
	linear) echo fields-walked ;;
	load) echo shed-nothing ;;
	esac
}

note() {
	printf '%-28s %-8s %4s s  %s\n' "$1" "$2" "$3" "$4" >>"$results"
}

# step NAME COMMAND...: runs it, shows its last lines, notes what became of it.
step() {
	name=$1
	log=$logs/$(echo "$name" | tr ' ' -).log
	shift
	echo "== $name"
	begun=$(date +%s)
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
	code=$?
	took=$(($(date +%s) - begun))
	if [ "$code" -eq 0 ]; then
		tail -n 12 "$log"
		note "$name" ok "$took" ""
	elif [ "$code" -eq 77 ] || grep -q '^make.*Error 77$' "$log"; then
		tail -n 3 "$log"
		note "$name" skipped "$took" "$(grep -v '^make' "$log" | tail -n 1)"
	else
		tail -n 60 "$log"
		failed=1
		[ "$code" -ne 124 ] || code="no end within $limit s"
		note "$name" FAILED "$took" "exit $code: $log"
	fi
}

# rig NAME: the sample, then the planted fault.
rig() {
	script=$(script_of "$1")
	plant=$(plant_of "$1")
	if [ ! -x "$script" ]; then
		note "$1" skipped 0 "$script is not there"
		return
	fi
	step "$1" make -s "check-$1" RIG=--sample
	if [ ! -f "tests/plant/$plant.c" ]; then
		note "$1 finds $plant" skipped 0 "tests/plant/$plant.c is not there"
		return
	fi
	if ! make -s plant "PLANT=$plant" >"$logs/plant.log" 2>&1; then
		tail -n 20 "$logs/plant.log"
		failed=1
		note "$1 finds $plant" FAILED 0 "the planted build: $logs/plant.log"
		return
	fi
	step "$1 finds $plant" make -s "check-$1" RIG="--plant $plant"
}

# What is linked first is no part of a rig's time.
make -s all tests >"$logs/build.log" 2>&1 || { tail -n 20 "$logs/build.log"; exit 1; }
for r in $RIGS; do
	case $r in
	fuzz)
		make -s fuzzers-short >"$logs/build.log" 2>&1 || { tail -n 20 "$logs/build.log"; exit 1; }
		step fuzz make -s fuzz-short
		;;
	framing) step framing "$B/tests/lib/smtp/framing_exhaustive_test" ;;
	*) rig "$r" ;;
	esac
done
echo
cat "$results"
exit $failed
