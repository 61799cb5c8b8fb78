#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run a command of this tree in a bare Debian 12 root, so that a package missing from deploy/install-deps.sh shows:
#
#   sh tests/containers/bare_root.sh [COMMAND …]      default: sh deploy/demo.sh
#   sh tests/containers/bare_root.sh sh tests/run.sh
#
# Needs root, mmdebstrap and the package sources of this machine. The root is made in a folder for temporary files, gets
# a copy of the tree, its own mounts and processes, and this machine's network; everything goes when the command ends.
# Slow (it installs a compiler), so it is not part of the ordinary tests.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$folder/../.." && pwd)
[ $# -gt 0 ] || set -- sh deploy/demo.sh

[ "$(id -u)" = 0 ] || { echo "bare_root: must be root, to make a root folder and to mount in it" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "bare_root: no mmdebstrap: sh deploy/install-deps.sh containers" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/sensebus-root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$folder/mkbase.sh" "$work/base.tar"
root=$work/root
mkdir "$root"
tar -xpf "$work/base.tar" -C "$root" --exclude='./dev/*'
rm "$work/base.tar"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
mkdir "$root/sensebus"
# The tree as it is, without what git ignores.
(cd "$top" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - --ignore-failed-read) |
    tar -x -C "$root/sensebus"
# Checks that ask git which files belong to the tree must work there too.
git -C "$root/sensebus" -c init.defaultBranch=main init -q
git -C "$root/sensebus" add --all

# The mounts belong to the new namespace and go with it, before the folder is removed.
unshare --mount --pid --fork --kill-child --propagation private sh -eu -c '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 sh -c "cd /sensebus && exec \"\$@\"" bare_root "$@"
' bare_root "$root" "$@"
