#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build what is measured, measure it, print one table.
#
#   sh tests/bench/run.sh [WORKLOAD …] [--quick] [OPTION …]      workloads W1 … W8, all of them by default
#
# Results go to build/bench/results.json; `bench.py --help` lists the options. The other brokers come from
# tests/bench/install.sh; one that is not installed is left out, and said to be. SENSEBUS_BENCH_BUILD: the build's folder.
set -eu
cd "$(dirname "$0")/../.."
build=${SENSEBUS_BENCH_BUILD:-build/bench}
mkdir -p "$build"
cmake --preset release -B "$build" -DSENSEBUS_BENCH=ON >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }
ninja -C "$build" sensebus-broker sensebus bench_load bench_limit >"$build/build.log" 2>&1 || { tail -60 "$build/build.log"; exit 1; }
git describe --always --dirty >"$build/measured" 2>/dev/null || echo unknown >"$build/measured"
exec /usr/bin/python3 tests/bench/bench.py --build "$build" --results "$build/results.json" "$@"
