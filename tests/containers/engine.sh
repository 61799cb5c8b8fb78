# SPDX-License-Identifier: Apache-2.0
# A container engine of our own: a private dockerd with its own socket and data, next to whatever else runs here.
# Sourced by the scripts of this folder.
#
# It changes nothing on the host: no firewall rule, no forwarding, no docker0 bridge (so builds use the host's network),
# no service. Containers of one compose network reach each other; that is all the tests need.
#
# Everything it keeps is in $SENSEBUS_CONTAINERS (base image, layers): a second run takes a fraction of the first.

: "${SENSEBUS_CONTAINERS:=${TMPDIR:-/tmp}/sensebus-containers}"
mkdir -p "$SENSEBUS_CONTAINERS"
# Debian's docker and docker-compose: another docker first in PATH may lack the plug-in it needs to build.
PATH="/usr/bin:/usr/sbin:/bin:/sbin:$PATH"
DOCKER_HOST="unix://$SENSEBUS_CONTAINERS/docker.sock"
DOCKER_BUILDKIT=1
COMPOSE_DOCKER_CLI_BUILD=1
unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH COMPOSE_FILE COMPOSE_PROJECT_NAME
export PATH DOCKER_HOST DOCKER_BUILDKIT COMPOSE_DOCKER_CLI_BUILD

engine_folder=$(dirname "$0")
engine_log=$SENSEBUS_CONTAINERS/dockerd.log
engine_pid=

# Why no engine can run here, in words; nothing when one can.
engine_obstacle() {
    for program in dockerd docker docker-compose mmdebstrap; do
        command -v "$program" >/dev/null 2>&1 || {
            echo "$program is not installed (sh deploy/install-deps.sh containers)"
            return
        }
    done
    if [ "$(id -u)" != 0 ]; then
        echo "not root: dockerd cannot be started"
    elif ! unshare --mount --pid --net --fork true 2>/dev/null; then
        echo "namespaces cannot be made here (running in a container without privileges?)"
    fi
}

engine_answers() { docker version >/dev/null 2>&1; }

# 0 when the engine answers. On failure the end of its log was printed.
engine_start() {
    rm -f "$SENSEBUS_CONTAINERS/dockerd.pid"
    setsid dockerd --host "$DOCKER_HOST" --pidfile "$SENSEBUS_CONTAINERS/dockerd.pid" \
        --data-root "$SENSEBUS_CONTAINERS/data" --exec-root "$SENSEBUS_CONTAINERS/exec" \
        --iptables=false --ip6tables=false --ip-forward=false --bridge=none --log-level warn \
        >"$engine_log" 2>&1 </dev/null &
    engine_pid=$!
    tries=0
    until engine_answers; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 "$engine_pid" 2>/dev/null; then
            echo "the container engine does not start; the end of its log:" >&2
            tail -n 15 "$engine_log" >&2
            engine_stop
            return 1
        fi
        sleep 0.1
    done
}

engine_stop() {
    [ -n "$engine_pid" ] || return 0
    kill "$engine_pid" 2>/dev/null || :
    wait "$engine_pid" 2>/dev/null || :
    engine_pid=
}

# debian:bookworm-slim, made from the package sources of this machine: no image registry is needed.
engine_base_image() {
    docker image inspect debian:bookworm-slim >/dev/null 2>&1 && return 0
    base=$SENSEBUS_CONTAINERS/base.tar
    [ -e "$base" ] || sh "$engine_folder/mkbase.sh" "$base" || return 1
    docker import -c 'CMD ["/bin/bash"]' "$base" debian:bookworm-slim >/dev/null
}
