#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests the agent's sources of kernel events in a virtual machine that runs Debian's own kernel.
#
#   sh tests/guest/run.sh [OPTION…] [ROW…]    every row of the event table, or those named: cause -> exactly its event
#   sh tests/guest/run.sh [OPTION…] --command 'COMMAND LINE'    run that in the guest instead, as root, in this folder
#
#   --build DIRECTORY     where the programs are (default: build/guest, which is made when it is missing)
#   --seconds N           stop after that (default 900)
#   --accelerator NAME    kvm, tcg, or auto (default): KVM only where the processor has it
#   --count               the guest's clocks count instructions (emulation only): for overhead.py
#   --write FILE          write the table, as docs/kernel-events.md has it
#
# In the guest $SENSEBUS_BUILD is the build, /guest is build/guest-image/share of the host; all other files of the host are
# there under the same paths, and what is written to them is forgotten. One guest at a time runs; others wait.
# Ends 0 when all is well, 77 when there can be no guest here, 124 after N seconds, 125 when the guest died.
set -eu
cd "$(dirname "$0")/../.."
build=$PWD/build/guest
seconds=900
accelerator=auto
count=
command=
write=
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$(realpath "$2"); shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --accelerator) accelerator=$2; shift 2 ;;
    --command) command=$2; shift 2 ;;
    --count) count=--count; shift ;;
    --write) write=$2; shift 2 ;;
    -h | --help) sed -n '3,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    *) break ;;
    esac
done

image=$PWD/build/guest-image
for program in qemu-system-x86_64 busybox depmod dpkg-deb apt-get; do
    PATH=$PATH:/usr/sbin:/sbin command -v $program >/dev/null ||
        { echo "guest: skipped: no $program (sh deploy/install-deps.sh guest)" >&2; exit 77; }
done
mkdir -p "$image"
exec 9>"$image/lock"
flock 9
/usr/bin/python3 tests/guest/image.py "$image"

if [ -z "$command" ]; then
    [ -e "$build/CMakeCache.txt" ] || cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
    ninja -C "$build" sensebus sensebus-agent sensebus-broker sensebus-target guest-reads >"$image/build.log" || { tail -20 "$image/build.log"; exit 1; }
    command="/usr/bin/python3 tests/guest/rows.py $*"
fi
status=0
/usr/bin/python3 tests/guest/boot.py "$image" "$image/share" --seconds "$seconds" --accelerator "$accelerator" $count \
    "export SENSEBUS_BUILD='$build'; $command" || status=$?
if [ -n "$write" ] && [ -e "$image/share/table.md" ]; then cp "$image/share/table.md" "$write"; fi
exit $status
