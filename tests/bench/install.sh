#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install the brokers that tests/bench compares with, from Debian 12's packages (root). None of them is started: the
# benchmark starts each one for itself, on a free port in a folder of its own.
#
#   sh tests/bench/install.sh [PACKAGE …]     default: all of them
set -eu
packages=${*:-nats-server mosquitto redis-server rabbitmq-server}

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "install: nothing to do"
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "install: error: not root, and these packages are missing:$missing" >&2; exit 1; }

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list
apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "install: done:$missing"
