#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# official.sh OFFICIAL_SERVER: every case of the gRPC project's interoperability client that needs neither TLS nor
# credentials nor compression, from Debian's ruby-grpc, against our server.
set -eu
server=$1

skip() {
    echo "SKIP: the official interoperability client was NOT run: $*"
    exit 77
}

client=$(dpkg -L ruby-grpc 2>/dev/null | grep '/src/ruby/pb/test/client\.rb$') || skip "ruby-grpc is not installed"
command -v ruby >/dev/null || skip "ruby is not installed"

work=$(mktemp -d)
pid=
stop() {
    if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

mkfifo "$work/said"
"$server" >"$work/said" &
pid=$!
read -r word address <"$work/said"
[ "$word" = listening ] || { echo "FAIL: the server said '$word $address'"; exit 1; }

failed=0
for case in empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server \
    cancel_after_begin cancel_after_first_response unimplemented_method unimplemented_service custom_metadata \
    status_code_and_message; do
    if timeout 120 ruby "$client" --server_host "${address%:*}" --server_port "${address##*:}" --test_case "$case" \
        >"$work/log" 2>&1; then
        echo "ok   $case"
    else
        echo "FAIL $case"
        cat "$work/log"
        failed=$((failed + 1))
    fi
done

# In good order to the end: sanitizers and leaks would say otherwise.
kill "$pid"
status=0
wait "$pid" || status=$?
pid=
[ "$status" = 0 ] || { echo "FAIL: the server ended with $status"; exit 1; }
echo "$failed failed"
[ "$failed" = 0 ]
