#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The store on a file system that is really full: a tiny tmpfs, mounted in a mount namespace of its own so that nothing is
# left behind. Exit status 77 = skipped.
set -eu
program=$1
if ! unshare --mount true 2>/dev/null; then
    echo "SKIPPED: no right to make a mount namespace; the full-disk test needs root or user namespaces" >&2
    exit 77
fi
directory=$(mktemp -d)
trap 'rmdir "$directory"' EXIT
unshare --mount sh -c '
    mount --make-rprivate / && mount -t tmpfs -o size=2m,mode=0700 tmpfs "$1" || {
        echo "SKIPPED: cannot mount a tmpfs" >&2
        exit 77
    }
    exec "$2" "$1"' sh "$directory" "$program"
