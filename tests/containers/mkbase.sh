#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A small Debian 12 root as a tar file: sh tests/containers/mkbase.sh OUT.tar
#
# It is made from the package sources and the acquire settings (proxy, retries, date checks) that apt uses on this
# machine, and keeps them: what can be installed here can be installed in it. No image registry is involved.
set -eu
out=${1:?usage: sh tests/containers/mkbase.sh OUT.tar}

sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
[ -e "$sources" ] || { echo "mkbase: no Debian package sources in /etc/apt" >&2; exit 1; }

temporary=$(mktemp -d)
trap 'rm -rf "$temporary" "$out.part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' >"$temporary/apt.conf" || :
# Without the caches every image layer that runs apt is some 70 MB smaller.
cat >>"$temporary/apt.conf" <<'CONF'
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
CONF

# Host-specific and cached files stay out.
mmdebstrap --quiet --format=tar --variant=minbase --mode=root --include=ca-certificates \
    --aptopt="$temporary/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -rf "$1/etc/resolv.conf" "$1/etc/hostname" "$1"/var/cache/apt/*.bin "$1"/var/log/*' \
    bookworm "$out.part" "$sources"
mv "$out.part" "$out"
