#!/bin/sh
# A sample of every rig, and one planted fault for each to find: `make check-rigs`,
# within ten minutes on two cores. RIGS="kill fuzz" chooses some; RIGS_JOBS (2) run at once,
# but for the load, which is alone; RIGS_SECONDS (900) is the longest that one step may take.
# What each said is in B/rigs/. The last lines say what became of each step; exit 1 when
# one failed. A rig whose script is not there, or that ends with 77 because this
# machine lacks what it needs (a loop device, FUSE), is skipped, and that is said.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
export B
logs=$B/rigs
limit=${RIGS_SECONDS:-900}
: "${RIGS:=powercut kill fault damage linear fuzz guessing load}"

# The script of a rig, and the faults that it must find.
script_of() {
	case $1 in
	powercut | kill) echo "tests/crash/$1.py" ;;
	fuzz) echo tests/fuzz/run.sh ;;
	guessing) echo tests/load/guessing.py ;;
	*) echo "tests/$1/$1.py" ;;
	esac
}

plants_of() {
	case $1 in
	powercut) echo spool-no-sync removal-lost ;;
	kill) echo commit-lost relay-record-lost ;;
	fault) echo file-left ;;
	damage) echo damage-served ;;
	linear) echo fields-walked ;;
	guessing) echo defence-off ;;
	load) echo shedding-off ;;
	esac
}

# note RIG STEP RESULT SECONDS WHY
note() {
	printf '%-28s %-8s %4s s  %s\n' "$2" "$3" "$4" "$5" >>"$logs/$1.result"
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
		note "$rig" "$name" ok "$took" ""
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
		step fuzz fuzz make -s fuzz-short
		return
	fi
	step "$1" "$1" make -s "check-$1" RIG=--sample
	for plant in $(plants_of "$1"); do
		if [ -f "tests/plant/$plant.c" ]; then
			step "$1" "$1 finds $plant" make -s "check-$1" RIG="--plant $plant"
		else
			note "$1" "$1 finds $plant" skipped 0 "tests/plant/$plant.c is not there"
		fi
	done
}

if [ "${1:-}" = --one ]; then
	run_rig "$2"
	exit 0
fi

mkdir -p "$logs"
# What is compiled first is no part of a rig's time.
build() {
	make -s -j2 "$@" >"$logs/build.log" 2>&1 && return
	tail -n 20 "$logs/build.log"
	exit 1
}
build all tests
case " $RIGS " in *" fuzz "*) build fuzzers-short ;; esac
others=$(echo " $RIGS " | sed 's/ load / /')
# shellcheck disable=SC2086
printf '%s\n' $others | xargs -P "${RIGS_JOBS:-2}" -n 1 "$0" --one
case " $RIGS " in *" load "*) run_rig load ;; esac
echo
for r in $RIGS; do
	cat "$logs/$r.result"
done >"$logs/results"
cat "$logs/results"
! grep -q ' FAILED ' "$logs/results"
