#!/bin/sh
# Verifies the models of turns (turn.pml) and of who owns the sockets (keeper.pml) with spin, and
# then that each mutant, which breaks one rule, is caught. One line for each; exits with 1 on any
# surprise. Takes about a minute, and less than 1 GB.
#
#   run.sh [full]    full: looks at more kills, too; some minutes, and 2 GB
set -eu
full=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "the models need $tool, which is missing (apt-get install spin gcc)" >&2; exit 1; }
done
dir=$(mktemp -d)
job=
trap '[ -z "$job" ] || kill "$job" 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# the mutants of each model, with what they break
mutants='
turn   M_WRITE_BEFORE_COMMIT   writes to sockets before the turn is valid
turn   M_WRITE_BEFORE_VALID    a claimant writes to sockets before it has said VALID
turn   M_FORGET_READ           forgets what was read and not committed
turn   M_FORGET_WRITTEN        forgets what was written since the commit
turn   M_NOTE_NOT_NOTICED      forgets what was written last, which only the kernel has noted
turn   M_NOTE_OF_ANOTHER       takes the note of a write for that of a later version of the item
turn   M_NOTE_NOT_CLEARED      changes the note of a write while it is valid
turn   M_READ_AGAIN            takes reads of a committed turn for reads in doubt
turn   M_READ_UNANNOUNCED      counts a read only when it is made
turn   M_UNCOMMITTED           takes the newest version, valid or not
turn   M_IN_PLACE              writes over the valid version
turn   M_PUT_LATE              gives the keeper a socket when its item is committed already
turn   M_DROP_EARLY            takes a socket from the keeper when its item is still valid
keeper M_CLAIM_ALIVE           a claim is granted while the owner lives
keeper M_CLAIM_BY_PID          a claim is granted when the owner is dead, but not all who have its connection
keeper M_CLAIM_UNREAD          a claim is granted before all messages of the dead one are read
keeper M_VALID_BEFORE_COMMIT   the new process says VALID before COMMIT
keeper M_TOUCH_BEFORE_ACTIVE   the new process touches a socket before it has said ACTIVE
keeper M_TOUCH_BEFORE_VALID    the new process touches a socket before it has said VALID
keeper M_NEW_STAYS             the new process stays when the old one has died before COMMIT
keeper M_THAW_ALIVE            the old process goes on though the new one lives
keeper M_THAW_SILENT           the old process goes on though the new one has said VALID, and does not say it again
keeper M_ACTIVE_OVERLOOKED     the old process goes on though ACTIVE is in the channel
keeper M_RECONNECT_IN_UPGRADE  the old process connects to the next keeper while an upgrade is under way
'

# pan MODEL live|safe FLAG…: builds the verifier in $at and runs it; what it says is in $at.out.
pan() {
	model=$1 kind=$2
	shift 2
	rm -rf "$at"
	mkdir "$at"
	(
		cd "$at"
		if [ "$kind" = live ]; then
			spin -a -DLIVE "$@" "$here/$model.pml" && gcc $optimize -w -DCOLLAPSE -DNFAIR=4 -DMEMLIM=$memory -o pan pan.c && ./pan -a -f -w22 -m10000
		else
			spin -a "$@" "$here/$model.pml" && gcc $optimize -w -DCOLLAPSE -DSAFETY -DNOCLAIM -DMEMLIM=$memory -o pan pan.c && ./pan -w22 -m10000
		fi
	) >"$at.out" 2>&1 || echo "failed: $?" >>"$at.out"
}

# surprise WHAT: what pan has said was not expected.
surprise() {
	echo "FAIL $1"
	grep -v '^	' "$at.out" | head -20 | sed 's/^/     /'
	failed=1
}

# right MODEL live|safe WHAT FLAG…: nothing is wrong, and everything was looked at.
right() {
	model=$1 kind=$2 what=$3
	shift 3
	pan "$model" "$kind" "$@"
	if grep -q 'errors: 0$' "$at.out" && ! grep -Eq '^failed|not completed|too small|out of memory' "$at.out"; then
		states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$at.out")
		took=$(sed -n 's/^pan: elapsed time \(.*\) seconds/\1/p' "$at.out")
		echo "ok   $model.pml, $what: $states states, $took s"
	else
		surprise "$model.pml, $what"
	fi
}

# wrong MODEL MUTANT WHAT: one of the properties fails.
wrong() {
	model=$1 mutant=$2 what=$3
	kind=safe
	case $mutant in
	M_NEW_STAYS) kind=live; set -- -DKILLS=2 -DSPARES=0 ;;
	M_THAW_SILENT) set -- -DKILLS=2 -DSPARES=0 -DVALID_FIRST ;;
	M_*) if [ "$model" = turn ]; then set -- -DMSGS=2 -DKILLS=2; else set -- -DKILLS=2 -DSPARES=0; fi ;;
	esac
	pan "$model" $kind "-D$mutant" "$@"
	if ! grep -Eq 'errors: 1$' "$at.out" || grep -q '^failed' "$at.out"; then
		surprise "$mutant passes: $what"
	elif why=$(grep -Eo 'assertion violated.*|acceptance cycle' "$at.out" | head -1) && [ "${why#*next<}" = "$why" ]; then
		echo "ok   $mutant is caught: $what"
	else
		surprise "$mutant fails for another reason: $what"
	fi
}

# mutate: all mutants.
mutate() {
	for model in turn keeper; do
		for mutant in $(grep -Eo 'M_[A-Z_]+[A-Z]' "$here/$model.pml" | sort -u); do
			case $mutants in
			*"$model "*" $mutant "*) ;;
			*) echo "FAIL $mutant of $model.pml is not in the list"; failed=1 ;;
			esac
		done
	done
	echo "$mutants" >"$dir/mutants"
	while read -r model mutant what; do
		[ -n "$model" ] || continue
		if grep -q "$mutant" "$here/$model.pml"; then
			wrong "$model" "$mutant" "$what"
		else
			echo "FAIL $mutant is not in $model.pml"
			failed=1
		fi
	done <"$dir/mutants"
	return $failed
}

# One processor for the mutants, and one for what is right.
at=$dir/mutant optimize=-O0 memory=300
mutate >"$dir/caught" 2>&1 &
job=$!
at=$dir/model optimize=-O1 memory=600
right turn safe '3 messages, 2 kills' -DMSGS=3 -DKILLS=2
right turn safe '2 messages, 3 kills' -DMSGS=2 -DKILLS=3
right turn live '2 messages, 2 kills, all are answered in the end' -DMSGS=2 -DKILLS=2
right keeper safe 'an upgrade, 3 kills' -DKILLS=3 -DSPARES=0
right keeper safe '2 upgrades, 1 kill' -DKILLS=1 -DSPARES=0 -DUPGRADES=2
right keeper safe 'an upgrade, a gateway too many, 1 kill' -DKILLS=1 -DSPARES=1
right keeper safe 'an upgrade, 3 kills, VALID before ACTIVE' -DKILLS=3 -DSPARES=0 -DVALID_FIRST
right keeper live 'an upgrade, 2 kills, somebody serves in the end' -DKILLS=2 -DSPARES=0
if [ "$full" = full ]; then
	optimize=-O2 memory=2000
	right turn safe '3 messages, 3 kills' -DMSGS=3 -DKILLS=3
	right turn live '3 messages, 2 kills, all are answered in the end' -DMSGS=3 -DKILLS=2
	right keeper safe '2 upgrades, 2 kills' -DKILLS=2 -DSPARES=0 -DUPGRADES=2
	right keeper safe 'an upgrade, a gateway too many, 2 kills' -DKILLS=2 -DSPARES=1
	right keeper live 'an upgrade, 3 kills, somebody serves in the end' -DKILLS=3 -DSPARES=0
	right keeper live '2 upgrades, 1 kill, somebody serves in the end' -DKILLS=1 -DSPARES=0 -DUPGRADES=2
	right keeper live 'an upgrade, 2 kills, VALID before ACTIVE, somebody serves' -DKILLS=2 -DSPARES=0 -DVALID_FIRST
fi
wait "$job" || failed=1
job=
cat "$dir/caught"
exit $failed
