#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages in a folder, does with them what docs/operations.md says under "Install as a package", and takes them off.
#
#   sh installed.sh apt|dpkg FOLDER
#
# For a root folder that is thrown away (package_debian.py, bare.sh), as root, without systemd. `dpkg`: what they depend
# on is there.
set -eu
way=$1 folder=$2
die() { echo "installed: $*" >&2; exit 1; }
quiet() { "$@" >/tmp/quiet.log 2>&1 || { tail -n 30 /tmp/quiet.log >&2; die "failed: $*"; }; }
# as USER COMMAND…: with its groups and nothing else, as the unit starts it
as() { user=$1; shift; setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs "$@"; }
[ ! -e /run/systemd/system ] || die "a systemd runs here: this is for a root folder of its own"
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

install_all() {
    set -- "$folder"/sensebus-broker_*.deb "$folder"/sensebus-agent_*.deb "$folder"/sensebus_*.deb
    case $way in
    apt) quiet apt-get install -y -qq --no-install-recommends --reinstall "$@" ;;
    dpkg) quiet dpkg --force-unsafe-io --no-triggers -i "$@" ;;
    *) die "apt or dpkg, not $way" ;;
    esac
}

install_all
for program in sensebus-broker sensebus-agent; do
    "$program" --version
    getent passwd $program >/dev/null || die "there is no user $program"
    [ ! -e /etc/systemd/system/multi-user.target.wants/$program.service ] || die "$program is enabled though nobody said so"
done
sensebus version --client >/dev/null 2>&1 || sensebus --version >/dev/null || die "sensebus does not run"
sensebus store info --data /nowhere >/dev/null 2>&1 && die "sensebus store finds a log in /nowhere"

# As they come, the settings are right.
as sensebus-broker sensebus-broker --config /etc/sensebus/broker.yaml --check-config >/dev/null
as sensebus-agent sensebus-agent check | grep -q '^uevent ' || die "sensebus-agent check names no source"

# First steps with certificates; the examples in the configuration hold without their #.
quiet sensebus pki init /root/ca
quiet sensebus pki issue broker b1 --ca /root/ca --dns localhost --out /root/broker.pem
quiet sensebus pki issue agent db-07 --ca /root/ca --out /root/agent.pem
install -m 0644 /root/ca/ca.pem /root/broker.pem /root/agent.pem /etc/sensebus/tls/
install -m 0400 -o sensebus-broker /root/broker.key /etc/sensebus/tls/
install -m 0400 -o sensebus-agent /root/agent.key /etc/sensebus/tls/
install -m 0600 -o sensebus-agent /dev/null /etc/sensebus/chap
sed -i -E 's/^#(  - |  [a-z_]+:|[a-z_]+:)/\1/' /etc/sensebus/broker.yaml
sed -i -E 's/^#([A-Z_]+=)/\1/' /etc/sensebus/agent.env
grep -q '^  - "tls://' /etc/sensebus/broker.yaml || die "the example tls:// did not become a setting"
as sensebus-broker sensebus-broker --config /etc/sensebus/broker.yaml --check-config >/dev/null
# As systemd reads the file, for what it has: no words are split and no variables put in.
sed -nE 's/^([A-Z_]+)="?([^"]*)"?$/\1='"'\2'"'; export \1/p' /etc/sensebus/agent.env >/tmp/agent.sh
(
    . /tmp/agent.sh
    [ -n "$SENSEBUS_AGENT_OPTIONS" ] || die "the example of SENSEBUS_AGENT_OPTIONS did not become a setting"
    # shellcheck disable=SC2086 # words of their own, as in the unit
    as sensebus-agent sensebus-agent check $SENSEBUS_AGENT_OPTIONS
) | grep -q '^iscsi .* 1 targets, 1 portals' || die "sensebus-agent check does not see the example's target"
as sensebus-agent cat /etc/sensebus/tls/broker.key >/dev/null 2>&1 && die "the agent can read the broker's key"

# An upgrade leaves what the administrator wrote.
install_all
grep -q '^  - "tls://' /etc/sensebus/broker.yaml || die "installing again replaced a changed configuration"

# A purge takes what was installed, and leaves what was made since.
quiet dpkg --force-unsafe-io --no-triggers --purge sensebus-broker sensebus-agent sensebus
for file in /usr/bin/sensebus /usr/bin/sensebus-agent /lib/systemd/system/sensebus-broker.service /etc/sensebus/broker.yaml \
    /etc/sensebus/agent.env; do
    [ ! -e $file ] || die "$file is there after a purge"
done
[ -e /etc/sensebus/tls/broker.key ] || die "a purge took a key"
echo "installed, set up, installed again and purged"
