#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds what the storm needs, with sanitizers, and runs it.
#   sh tests/fault/storm.sh [--seconds 1800] [--seed N] …     a run (see --help)
#   sh tests/fault/storm.sh --mutants [NUMBER …]              is each seeded bug found? (about ten minutes)
# SENSEBUS_BUILD names another build folder that stands already.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${SENSEBUS_BUILD:-}" ]; then
  SENSEBUS_BUILD=$PWD/build/asan
  cmake --preset asan >/dev/null
fi
case $SENSEBUS_BUILD in /*) ;; *) SENSEBUS_BUILD=$PWD/$SENSEBUS_BUILD ;; esac
export SENSEBUS_BUILD SENSEBUS_SOURCE="$PWD"
ninja -C "$SENSEBUS_BUILD" sensebus-broker-storm sensebus-store sensebus sensebus_python_stubs >/dev/null
if [ "${1:-}" = --mutants ]; then
  shift
  exec /usr/bin/python3 tests/fault/storm/mutants.py "$@"
fi
exec /usr/bin/python3 tests/fault/storm "$@"
