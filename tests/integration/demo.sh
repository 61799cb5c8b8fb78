#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deploy/demo.sh against the programs of this build: ends 0, shows at least six kinds of real events with their remedy,
# and leaves nothing behind. Also: --keep leaves a running system, its stop script ends it; a failure is not a success.
set -eu
: "${SENSEBUS_SOURCE:?}" "${SENSEBUS_BUILD:?}"

for tool in tgtd tgtadm iscsi-swp iscsi-test-cu setsid; do
    PATH="$PATH:/usr/sbin:/sbin" command -v $tool >/dev/null || { echo "SKIPPED: no $tool here" >&2; exit 77; }
done

TMPDIR=$(mktemp -d)
export TMPDIR
output=$TMPDIR/output
demo_pid=
finish() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$demo_pid" ] || kill "$demo_pid" 2>/dev/null || :
    for stop in "$TMPDIR"/sensebus-demo.*/stop.sh; do [ ! -e "$stop" ] || sh "$stop" || :; done
    [ "$status" = 0 ] || { echo "---- output of the demo" >&2; cat "$output" >&2; }
    rm -rf "$TMPDIR"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() { echo "FAILED: $*" >&2; exit 1; }
demo() { sh "$SENSEBUS_SOURCE/deploy/demo.sh" --no-install "$@"; }

demo >"$output" 2>&1 || fail "the demo ended with status $?"
kinds=$(grep -Eo '[A-Z_]+ after [0-9]' "$output" | cut -d' ' -f1 | sort -u | wc -l)
[ "$kinds" -ge 6 ] || fail "the demo waited for $kinds kinds of events only"
grep -q '^Summary' "$output" || fail "no summary"
grep -q "$(printf '\033')" "$output" && fail "colour without a terminal"
[ -z "$(find "$TMPDIR" -maxdepth 1 -name 'sensebus-demo.*')" ] || fail "the demo left files behind"
echo "$kinds kinds of events, in this order:"
grep 'seen:' "$output"

# Interrupted in the middle, it cleans up as well.
output=$TMPDIR/interrupted # of its own: the words of the first demo must not pass for those of the second
: >"$output"
sh "$SENSEBUS_SOURCE/deploy/demo.sh" --no-install >"$output" 2>&1 &
demo_pid=$!
tries=0
until grep -q 'seen:' "$output"; do
    tries=$((tries + 1))
    { [ $tries -lt 1800 ] && kill -0 $demo_pid; } || fail "the second demo does not come to its first event"
    sleep 0.1
done
pids=$(cat "$TMPDIR"/sensebus-demo.*/*.pid)
kill -TERM $demo_pid
wait $demo_pid && fail "an interrupted demo ended with 0"
demo_pid=
for pid in $pids; do ! kill -0 "$pid" 2>/dev/null || fail "process $pid outlived the demo"; done
[ -z "$(find "$TMPDIR" -maxdepth 1 -name 'sensebus-demo.*')" ] || fail "the interrupted demo left files behind"
echo "interrupted: nothing left"

demo --nonsense >"$output" 2>&1 && fail "an unknown option was accepted"
SENSEBUS_BUILD=$TMPDIR demo >"$output" 2>&1 && fail "a demo without programs ended with 0"
grep -q 'there is no sensebus-broker' "$output" || fail "the missing program is not named"

demo --keep >"$output" 2>&1 || fail "demo --keep ended with status $?"
pids=$(cat "$TMPDIR"/sensebus-demo.*/*.pid)
for pid in $pids; do kill -0 "$pid" || fail "process $pid does not run after --keep"; done
sh "$TMPDIR"/sensebus-demo.*/stop.sh
for pid in $pids; do
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 1800 ] || fail "process $pid outlived stop.sh"
        sleep 0.1
    done
done
echo "kept and stopped"
