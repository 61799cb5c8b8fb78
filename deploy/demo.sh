#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sensebus on one machine in about a minute, without hardware.
#
#   sh deploy/demo.sh [--keep] [--no-install]
#
# Installs what is missing, builds, starts a real iSCSI target (tgtd, in user space) with two logical units, a broker,
# an agent and `sensebus watch`; then causes real conditions one after the other and shows each event as it arrives.
# In between a program registers for the events of one logical unit, as a driver of AIX does, and is told by itself.
# Everything listens on 127.0.0.1, on free ports, and lives in one temporary folder. Ends with a summary and status 0,
# or says which event did not come.
#
#   --keep         leave everything running afterwards, and say how to use and how to stop it
#   --no-install   do not install packages
#
# SENSEBUS_BUILD=FOLDER takes the programs from that build folder and builds nothing.
set -eu

source_folder=$(cd "$(dirname "$0")/.." && pwd)
target_name=iqn.2026-01.org.sensebus:demo
host=demo-host
poll_ms=1000
event_limit_ms=60000
start_limit_ms=60000

keep=no
install=yes
for argument in "$@"; do
    case $argument in
    --keep) keep=yes ;;
    --no-install) install=no ;;
    -h | --help) sed -n '3,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'demo: unknown option %s\nusage: sh deploy/demo.sh [--keep] [--no-install]\n' "$argument" >&2; exit 2 ;;
    esac
done

# ---- words on the screen

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') green=$(printf '\033[32m') plain=$(printf '\033[0m')
else
    bold='' dim='' green='' plain=''
fi
say() { printf '%s\n' "$*"; }
heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

die() {
    printf '\ndemo: %s\n' "$*" >&2
    for log in broker agent target program; do
        [ -s "${work:-/nonexistent}/$log.log" ] || continue
        printf '\n---- the end of %s.log\n' "$log" >&2
        tail -n 15 "$work/$log.log" >&2
    done
    exit 1
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
seconds() { printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10)); }

# ---- processes: started in their own session, remembered, ended by number

work=
start() { # NAME PROGRAM ARGUMENT…: output to NAME.log, number in $pid_NAME and in NAME.pid
    name=$1
    shift
    setsid "$@" >>"$work/$name.log" 2>&1 </dev/null &
    eval "pid_$name=$!"
    echo $! >"$work/$name.pid"
}
pid_of() { eval "echo \"\${pid_$1:-}\""; }
alive() { kill -0 "$(pid_of "$1")" 2>/dev/null; }

stop() { # NAME SIGNAL: end it and wait until it is gone; its status is in $ended
    ended=0
    pid=$(pid_of "$1")
    [ -n "$pid" ] || return 0
    eval "pid_$1="
    rm -f "$work/$1.pid"
    kill "-$2" "$pid" 2>/dev/null || :
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || kill -KILL "$pid" 2>/dev/null || :
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || ended=$?
}

clean_up() {
    status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$work" ] && [ "$keep" != kept ]; then
        for name in program watch json agent broker port; do stop "$name" TERM; done
        stop target KILL # tgtd does not listen to TERM
        rm -rf "$work"
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

until_true() { # MILLISECONDS COMMAND…: 0 as soon as the command succeeds, 1 when the time is over
    end=$(($(now_ms) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# ---- packages and programs

if [ "$install" = yes ]; then
    sh "$source_folder/deploy/install-deps.sh" demo || die "packages are missing (see above)"
fi
for tool in tgtd tgtadm iscsi-swp iscsi-test-cu python3; do
    PATH="$PATH:/usr/sbin:/sbin" command -v $tool >/dev/null || die "$tool is not installed: run without --no-install"
done
PATH="$PATH:/usr/sbin:/sbin"

work=$(mktemp -d "${TMPDIR:-/tmp}/sensebus-demo.XXXXXX")

build=${SENSEBUS_BUILD:-}
if [ -z "$build" ]; then
    build=$source_folder/build/demo
    say "building in build/demo ..."
    { cmake -S "$source_folder" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSENSEBUS_TESTS=OFF &&
        cmake --build "$build"; } >"$work/build.log" 2>&1 || {
        tail -n 30 "$work/build.log" >&2
        die "the build failed (see above)"
    }
fi
program() {
    found=$(find "$build" -type f -name "$1" -perm -u+x | head -n 1)
    [ -n "$found" ] || die "there is no $1 in $build"
    echo "$found"
}
broker_program=$(program sensebus-broker)
agent_program=$(program sensebus-agent)
sensebus=$(program sensebus)

# ---- the target

hold_port() { # one that nobody else gets, also while the target is away: bound, and not listened on
    start port python3 -c 'import signal, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
signal.pause()'
    until_true $start_limit_ms test -s "$work/port.log" || die "there is no free port"
    target_port=$(cat "$work/port.log")
}
export TGT_IPC_SOCKET="$work/tgtd.ipc"
control=1
adm() { tgtadm -C $control --lld iscsi "$@"; }

target_start() {
    start target tgtd -f -C $control --iscsi "portal=127.0.0.1:$target_port"
    until_true $start_limit_ms adm --op show --mode sys && has_portal # without its port it goes on all the same
}
has_portal() { adm --op show --mode portal | grep -q ":$target_port"; }
target_configure() {
    adm --op new --mode target --tid 1 --targetname "$target_name"
    for lun in "$@"; do
        adm --op new --mode logicalunit --tid 1 --lun "$lun" --backing-store "$work/disk$lun"
    done
    adm --op bind --mode target --tid 1 --initiator-address ALL
}
drop_connections_of_agent() {
    adm --op show --mode conn --tid 1 | awk '/^Session:/ { print $2 }' | while read -r session; do
        adm --op delete --mode conn --tid 1 --sid "$session" --cid 0
    done
}
second_initiator_resets() { # what the tool thinks of the target's answer afterwards is of no interest here
    iscsi-test-cu --dataloss -n -t ALL.iSCSITMF.LUNResetSimpleAsync "$1" || :
}
second_initiator_changes_mode_page() { iscsi-swp -s on "$1"; }
target_kill() { stop target KILL; }
target_return() { target_start && target_configure 1 2; }

# ---- causes and events

# Every event so far is a line of json.log and some lines of watch.log.
lines_of() { wc -l <"$work/$1.log"; }

# Print what `sensebus watch` wrote since the last call; the same remedy once a step is enough.
shown=0
show_new() {
    n=$(lines_of watch)
    [ "$n" -gt "$shown" ] || return 0
    sed -n "$((shown + 1)),${n}p" "$work/watch.log" | while IFS= read -r line; do
        case $line in
        ' '*) grep -qxF -e "$line" "$work/remedies" || printf '    %s%s%s\n' "$dim" "$line" "$plain" ;;
        *) printf '    %s\n' "$line" ;;
        esac
        printf '%s\n' "$line" >>"$work/remedies"
    done
    shown=$n
}

# Wait until nothing came for one and a half polls: what follows belongs to the next cause.
settle() {
    quiet_since=$(now_ms) n_before=$(lines_of json)
    while [ $(($(now_ms) - quiet_since)) -lt $((poll_ms * 3 / 2)) ]; do
        sleep 0.1
        n=$(lines_of json)
        [ "$n" = "$n_before" ] || { n_before=$n quiet_since=$(now_ms); }
        show_new
    done
}

came() { # CODE: since the last cause
    tail -n "+$((n_cause + 1))" "$work/json.log" | grep -Eq "\"code\": ?\"($1)\""
}

step=0
latencies=
cause() { # WHAT "CODE CODE…" COMMAND…
    what=$1 codes=$2
    shift 2
    step=$((step + 1))
    heading "$step. $what"
    : >"$work/remedies"
    n_cause=$(lines_of json)
    t_cause=$(now_ms)
    "$@" >"$work/cause.log" 2>&1 || { cat "$work/cause.log" >&2; die "could not cause it: $*"; }
    took=
    for code in $codes; do
        while ! came "$code"; do
            show_new
            [ $(($(now_ms) - t_cause)) -lt $event_limit_ms ] ||
                die "'$what' happened, but $code did not come within $((event_limit_ms / 1000)) s"
            for name in broker agent; do alive $name || die "the $name died"; done
            sleep 0.02
        done
        ms=$(($(now_ms) - t_cause))
        took="$took, $code after $(seconds $ms)"
        latencies="$latencies$ms $code
"
    done
    settle
    say "    ${green}seen:${plain}${took#,}"
}

# ---- a program that has a device, as a driver of AIX has it

correlator=0x7f21
program_registers() {
    start program "$sensebus" register "$host:$target_name:2" --correlator $correlator
    until_true $start_limit_ms grep -q 'registered: session' "$work/program.log"
}
program_ends() { stop program TERM; }
program_heard() { # CODE: from its own stream, with its correlator
    until_true $event_limit_ms grep -q "^$correlator .* $1 " "$work/program.log" ||
        die "the program that registered for logical unit 2 was not told of $1"
    grep "^$correlator .* $1 " "$work/program.log" | tail -n 1 | sed "s/^/    ${green}the program:${plain} /"
}

# ---- the show

hold_port
for lun in 1 2 3; do truncate -s 64M "$work/disk$lun"; done
: >"$work/watch.log"
: >"$work/json.log"

heading "Sensebus demo"
target_start || die "tgtd does not start"
target_configure 1 2
say "target   $target_name at 127.0.0.1:$target_port, 2 logical units (tgtd)"

start broker "$broker_program" --listen 127.0.0.1:0 --plaintext-roles all --port-file "$work/port" --data "$work/broker"
until_true $start_limit_ms test -s "$work/port" || die "the broker does not start"
SENSEBUS_BROKER=$(cat "$work/port")
export SENSEBUS_BROKER
say "broker   $SENSEBUS_BROKER"

# The agent comes last, so that its arrival is the first thing to be seen.
start json "$sensebus" watch --since oldest -o ndjson
start watch "$sensebus" watch --since oldest -o compact --remedy
{ alive json && alive watch; } || die "sensebus watch does not start"
say "agent    $host, polls every $((poll_ms / 1000)) s"

start_agent() {
    start agent "$agent_program" --broker "$SENSEBUS_BROKER" --host $host --state "$work/agent" \
        --target "iscsi://127.0.0.1:$target_port/$target_name" --poll "${poll_ms}ms"
}
cause "The agent attaches and logs in to the target" \
    "AGENT_CONNECTED SESSION_STARTED POWER_ON_OR_RESET" start_agent
cause "A logical unit is added" \
    "REPORTED_LUNS_CHANGED DEVICE_ADDED" \
    adm --op new --mode logicalunit --tid 1 --lun 3 --backing-store "$work/disk3"
cause "A second initiator resets logical unit 1" \
    "POWER_ON_OR_RESET" \
    second_initiator_resets "iscsi://127.0.0.1:$target_port/$target_name/1"
cause "A second initiator changes a mode page (MODE SELECT, software write protect)" \
    "MODE_PARAMETERS_CHANGED" \
    second_initiator_changes_mode_page "iscsi://127.0.0.1:$target_port/$target_name/2"
cause "Logical unit 1 is taken offline" \
    "DEVICE_NOT_READY" \
    adm --op update --mode logicalunit --tid 1 --lun 1 --params online=0
cause "Logical unit 1 is put online again" \
    "DEVICE_ONLINE" \
    adm --op update --mode logicalunit --tid 1 --lun 1 --params online=1
cause "Logical unit 3 is removed" \
    "REPORTED_LUNS_CHANGED DEVICE_REMOVED" \
    adm --op delete --mode logicalunit --tid 1 --lun 3
cause "A program opens logical unit 2 and registers for its events, with a correlator (SCIOSTART, SCIOEVENT)" \
    "SESSION_STARTED" program_registers
"$sensebus" sessions | sed 's/^/    /'
cause "A second initiator resets logical unit 2; the program is told" \
    "POWER_ON_OR_RESET" \
    second_initiator_resets "iscsi://127.0.0.1:$target_port/$target_name/2"
program_heard POWER_ON_OR_RESET
cause "The program ends, and with it session and registration" \
    "REGISTRATION_CANCELLED SESSION_STOPPED" program_ends
cause "The connection is dropped" \
    "NEXUS_LOST NEXUS_RESTORED" drop_connections_of_agent
cause "The target dies" \
    "NEXUS_LOST" target_kill
cause "The target comes back" \
    "NEXUS_RESTORED" target_return

# ---- the sum

heading "Summary"
n_events=$(lines_of json)
grep -Eo '"code": ?"[A-Z_]+"' "$work/json.log" | grep -Eo '[A-Z_]+"' | tr -d '"' | sort | uniq -c | sort -k1,1nr -k2 |
    sed 's/^/  /' | tee "$work/codes"
n_codes=$(wc -l <"$work/codes")
slowest=$(printf '%s' "$latencies" | sort -n | tail -n 1)
say ""
say "  $step causes, $n_events events of $n_codes kinds; slowest: ${slowest#* } after $(seconds "${slowest%% *}")"
"$sensebus" agents | sed 's/^/  /'

if [ "$keep" = yes ]; then
    cat >"$work/stop.sh" <<END
for name in watch json agent broker port target; do
    signal=TERM
    [ \$name != target ] || signal=KILL # tgtd does not listen to TERM
    pid=\$(cat "$work/\$name.pid") || continue
    kill -\$signal "\$pid" 2>/dev/null || continue
    while kill -0 "\$pid" 2>/dev/null; do sleep 0.1; done
done
rm -rf "$work"
END
    keep=kept
    heading "Everything is still running"
    say "  try:   export SENSEBUS_BROKER=$SENSEBUS_BROKER"
    say "         $sensebus watch --remedy"
    say "         $sensebus get --last 20"
    say "         $sensebus devices"
    say "         $sensebus register $host:$target_name:2 --correlator $correlator"
    say "         TGT_IPC_SOCKET=$TGT_IPC_SOCKET tgtadm -C $control --lld iscsi --op update --mode logicalunit \\"
    say "             --tid 1 --lun 1 --params online=0"
    say "  logs:  $work/*.log"
    say "  stop:  sh $work/stop.sh"
else
    say "  ${dim}(stopping everything; --keep would have left it running)${plain}"
    for name in agent broker; do
        stop $name TERM
        [ "$ended" = 0 ] || die "the $name ended with status $ended"
    done
fi
