#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Debian packages in a bare Debian 12 root, where apt brings what they depend on: what a package does not name is
# missing there.
#
#   sh tests/package/bare.sh [BUILD]      default: build/release
#
# Needs root, and the base that tests/containers/run.sh keeps in $SENSEBUS_CONTAINERS, or mmdebstrap to make it (a minute); and
# the package sources of this machine. Ends 77, with the reason, where it cannot run.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$folder/../.." && pwd)
build=${1:-$top/build/release}
skip() { printf '\n######## SKIPPED: the packages were not installed in a bare root: %s\n\n' "$*" >&2; exit 77; }

[ "$(id -u)" = 0 ] || skip "not root"
for program in cpack dpkg-shlibdeps file; do
    command -v $program >/dev/null || skip "$program is not installed (sh deploy/install-deps.sh test)"
done
[ -e "$build/CPackConfig.cmake" ] || skip "no build in $build: cmake --preset release && cmake --build build/release"
unshare --mount --pid --fork true 2>/dev/null || skip "namespaces cannot be made here"
keep=${SENSEBUS_CONTAINERS:-${TMPDIR:-/tmp}/sensebus-containers}
if [ ! -e "$keep/base.tar" ]; then
    command -v mmdebstrap >/dev/null || skip "no mmdebstrap: sh deploy/install-deps.sh containers"
    mkdir -p "$keep"
    sh "$top/tests/containers/mkbase.sh" "$keep/base.tar" || skip "no base could be made"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sensebus-package.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$work/root
mkdir "$root"
tar -xpf "$keep/base.tar" -C "$root" --exclude='./dev/*'
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
echo 'Acquire::Retries "3";' >"$root/etc/apt/apt.conf.d/90retries"
mkdir "$root/packages"
cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work/out" >"$work/cpack.log" || { cat "$work/cpack.log"; exit 1; }
cp "$work"/out/*.deb "$folder/installed.sh" "$root/packages/"

# The mounts belong to the new namespace and go with it, before the folder is removed.
unshare --mount --pid --fork --kill-child --propagation private sh -eu -c '
    root=$1
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
    exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        sh -c "apt-get update -qq -o APT::Update::Error-Mode=any || exit 77; sh /packages/installed.sh apt /packages"
' bare "$root" || { [ $? -ne 77 ] || skip "the package sources cannot be reached"; exit 1; }
