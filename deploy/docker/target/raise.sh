#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Raise a real condition in this target: sh raise.sh lun-added|lun-removed|offline|online|drop|check
set -eu
adm() { tgtadm --lld iscsi "$@"; }

case ${1:-} in
lun-added) adm --op new --mode logicalunit --tid 1 --lun 3 --backing-store /data/lun3 ;;
lun-removed) adm --op delete --mode logicalunit --tid 1 --lun 3 ;;
offline) adm --op update --mode logicalunit --tid 1 --lun 1 --params online=0 ;;
online) adm --op update --mode logicalunit --tid 1 --lun 1 --params online=1 ;;
drop) # every connection of every session, as a failing network would
    adm --op show --mode conn --tid 1 | awk '/^Session:/ { print $2 }' | while read -r session; do
        adm --op delete --mode conn --tid 1 --sid "$session" --cid 0
    done ;;
check) [ -e /data/ready ] && adm --op show --mode sys >/dev/null ;;
*) echo "usage: raise.sh lun-added|lun-removed|offline|online|drop|check" >&2; exit 2 ;;
esac
