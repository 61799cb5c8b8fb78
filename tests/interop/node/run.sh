#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh ECHO_SERVER ECHO_PROTO_DIR PROTO_DIR WORK_DIR: install what package-lock.json names into WORK_DIR, run client.js.
set -eu
here=$(dirname "$0")
work=$4
if ! command -v npm >/dev/null; then
    echo "SKIP: npm is not installed"
    exit 77
fi
mkdir -p "$work"
cp "$here/client.js" "$work"
if ! cmp -s "$here/package-lock.json" "$work/installed-lock.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$work"
    if ! (cd "$work" && npm ci --fetch-retries=1 --fetch-timeout=60000 --ignore-scripts --no-audit --no-fund); then
        echo "SKIP: npm could not install @grpc/grpc-js"
        exit 77
    fi
    cp "$here/package-lock.json" "$work/installed-lock.json"
fi
exec node "$work/client.js" "$1" "$2" "$3"
