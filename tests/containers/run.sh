#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deploy/compose.yaml from nothing: sh tests/containers/run.sh
#
#   1. base image without a registry, engine of our own, images built, everything up and healthy
#   2. a condition raised in the target container ends the subscriber container with status 0
#   3. the broker container is killed (-9) and started again: what it had acknowledged is there once and in order,
#      and events come again
#
# Ends 77, with the reason, where no container engine can run. SENSEBUS_CONTAINERS is the folder that keeps the base
# image and the layers for the next run (default: sensebus-containers in the folder for temporary files).
set -eu
. "$(dirname "$0")/engine.sh"
top=$(cd "$engine_folder/../.." && pwd)
project=sensebus_test_$$

begin=$(date +%s)
say() { printf '%4ds  %s\n' $(($(date +%s) - begin)) "$*"; }

obstacle=$(engine_obstacle)
if [ -n "$obstacle" ]; then
    printf '\n######## SKIPPED: the container test did not run: %s\n\n' "$obstacle" >&2
    exit 77
fi

compose() { docker-compose -p "$project" -f "$top/deploy/compose.yaml" "$@"; }
quiet() { "$@" >"$SENSEBUS_CONTAINERS/command.log" 2>&1 || { tail -n 40 "$SENSEBUS_CONTAINERS/command.log" >&2; return 1; }; }
container() { echo "${project}_$1_1"; }

clean_up() {
    status=$?
    trap - EXIT INT TERM
    if engine_answers; then
        if [ "$status" != 0 ]; then
            echo "---- the end of the containers' logs" >&2
            compose logs --no-color --tail 25 >&2 2>/dev/null || :
        fi
        compose down --volumes --remove-orphans --timeout 3 >/dev/null 2>&1 || :
    fi
    engine_stop
    [ "$status" != 0 ] || say "engine stopped"
    exit "$status"
}
die() { echo "containers: $*" >&2; exit 1; }

# until_true SECONDS COMMAND…
until_true() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.2
    done
}

raise() { docker exec "$(container target)" sh /usr/local/bin/raise.sh "$1" >/dev/null; }
# sensebus in the broker's container
sensebus() { docker exec "$(container broker)" sensebus "$@"; }
events() { sensebus get -o ndjson; }
# The n-th record of each source must be its n-th here: nothing lost, nothing twice, nothing out of order.
in_order() {
    sed -n 's/.*"agentEpoch":"\([0-9]*\)".*"sourceSequence":"\([0-9]*\)".*/\1 \2/p' "$1" |
        awk '$2 != ++n[$1] { print "source " $1 ": record " $2 " came as number " n[$1]; bad = 1 } END { exit bad || NR == 0 }'
}
seen() { events | grep -q "\"$1\""; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]; }

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

engine_start || {
    printf '\n######## SKIPPED: the container test did not run: dockerd does not start here\n\n' >&2
    exit 77
}
engine_base_image || die "no base image"
say "engine up, base image there"

quiet compose build || die "the images cannot be built"
say "images built"
quiet compose up -d --no-build || die "compose up failed"
sensebus wait --for synced --agent agent --timeout 180s || die "the agent does not see the target"
until_true 180 healthy agent || die "the agent is attached and its health check does not say so"
say "everything up; the agent is logged in to the target"

raise lun-added
status=$(timeout 180 docker wait "$(container subscriber)") || die "the subscriber still waits 180 s after the condition"
[ "$status" = 0 ] || die "the subscriber ended with status $status"
docker logs "$(container subscriber)" 2>&1 | sed 's/^/       /'
say "the subscriber saw the condition and ended with status 0"

# Something to lose: several more conditions, acknowledged by then or not.
raise lun-removed
until_true 180 seen DEVICE_REMOVED || die "the removal did not become an event"
before=$SENSEBUS_CONTAINERS/before after=$SENSEBUS_CONTAINERS/after
events >"$before"
raise offline
docker kill --signal KILL "$(container broker)" >/dev/null
docker start "$(container broker)" >/dev/null
until_true 180 healthy broker || die "the broker does not become healthy after it was killed"
say "broker killed and started again"

until_true 180 seen DEVICE_NOT_READY || die "what happened around the kill never arrived"
raise online
until_true 180 seen DEVICE_ONLINE || die "no events come after the restart"
events >"$after"
n_before=$(wc -l <"$before")
head -n "$n_before" "$after" | cmp -s - "$before" || {
    diff "$before" "$after" >&2 || :
    die "events that were there before the kill are missing or changed"
}
in_order "$after" || die "the log is not what the agent reported"
say "all $n_before events from before the kill are there, each once and in order; $(wc -l <"$after") by now"
