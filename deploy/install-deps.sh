#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what Sensebus needs, from Debian 12's own packages.
#
#   sh deploy/install-deps.sh [build|package|demo|test|containers|guest|all]      default: build
#
# build       compiler, generators and libraries
# package     build, and what CPack needs for Debian packages
# demo        build, and the iSCSI target and initiator tools that deploy/demo.sh drives
# test        demo, and what tests/run.sh needs: test framework, sanitizers, fuzzer, stock gRPC clients
# containers  what tests/containers/ needs: a container engine and a tool that makes base images
# guest       build, and what tests/guest/ needs: an emulator, and what makes and uses SCSI devices in its Linux
# all         test and containers
#
# When nothing is missing it changes nothing and needs neither root nor network. Services of the packages it installs
# (tgt, docker) are not started.
set -eu

BUILD="
    gcc libc6-dev cmake ninja-build pkg-config python3
    protobuf-compiler protobuf-c-compiler
    libuv1-dev libprotobuf-c-dev libnghttp2-dev libiscsi-dev liblmdb-dev libsgutils2-dev libmnl-dev libssl-dev libcyaml-dev libyaml-dev
    clang bpftool libbpf-dev libtracefs-dev libtraceevent-dev"
PACKAGE="dpkg-dev file"
DEMO="tgt libiscsi-bin"
TEST="
    libcriterion-dev valgrind git spin openssl mandoc iproute2
    libclang-rt-14-dev llvm clang-tidy clang-format
    $PACKAGE systemd procps
    python3-grpcio python3-protobuf protobuf-compiler-grpc ruby-grpc nghttp2-client ca-certificates"
GUEST="qemu-system-x86 busybox-static kmod sg3-utils open-iscsi iproute2"
CONTAINERS="docker.io docker-compose mmdebstrap ca-certificates"

say() { printf 'install-deps: %s\n' "$*"; }
die() { printf 'install-deps: error: %s\n' "$*" >&2; exit 1; }

# A Node.js that is there already, from wherever, is good enough from version 18 on.
node_packages() {
    version=$(node --version 2>/dev/null) || version=v0
    major=${version#v}
    major=${major%%.*}
    [ "$major" -ge 18 ] 2>/dev/null || echo nodejs
    command -v npm >/dev/null 2>&1 || echo npm
}

case ${1:-build} in
build) wanted=$BUILD ;;
package) wanted="$BUILD $PACKAGE" ;;
demo) wanted="$BUILD $DEMO" ;;
test) wanted="$BUILD $DEMO $TEST $(node_packages)" ;;
containers) wanted=$CONTAINERS ;;
guest) wanted="$BUILD $GUEST" ;;
all) wanted="$BUILD $DEMO $TEST $CONTAINERS $(node_packages)" ;;
-h | --help) sed -n '3,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) printf 'usage: sh deploy/install-deps.sh [build|package|demo|test|containers|guest|all]\n' >&2; exit 2 ;;
esac

command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 ||
    die "this is not a Debian-like system (no dpkg-query or apt-get); install by hand: $(echo $wanted)"

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null) || state=
    case " $state" in
    *" installed "*) ;;
    *) case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac ;;
    esac
done
if [ -z "$missing" ]; then
    say "nothing to do: all packages for '${1:-build}' are installed"
    exit 0
fi
[ "$(id -u)" = 0 ] || die "not root, and these packages are missing:$missing"

# Keep the package scripts from starting daemons: a target listening on all addresses is not what was asked for.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

say "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || die "apt-get update failed: are the package sources reachable?"
# shellcheck disable=SC2086 # a list
apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    die "apt-get could not install all of:$missing (the names are those of Debian 12)"
say "done"
