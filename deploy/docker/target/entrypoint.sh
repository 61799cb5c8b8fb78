#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tgtd in the foreground, with the target $TARGET_NAME and two logical units.
set -eu
: "${TARGET_NAME:=iqn.2026-01.org.sensebus:disks}" "${LUN_SIZE:=64M}"

adm() { tgtadm --lld iscsi "$@"; }

for lun in 1 2 3; do
    [ -e "/data/lun$lun" ] || truncate -s "$LUN_SIZE" "/data/lun$lun"
done
rm -f /data/ready

tgtd -f --iscsi portal=0.0.0.0:3260 &
daemon=$!
# tgtd ignores SIGTERM.
trap 'kill -KILL $daemon; exit 0' TERM INT

until adm --op show --mode sys >/dev/null 2>&1; do
    kill -0 $daemon || exit 1
    sleep 0.1
done
adm --op new --mode target --tid 1 --targetname "$TARGET_NAME"
for lun in 1 2; do
    adm --op new --mode logicalunit --tid 1 --lun $lun --backing-store "/data/lun$lun"
done
adm --op bind --mode target --tid 1 --initiator-address ALL
: >/data/ready
echo "target $TARGET_NAME is ready"
wait $daemon
