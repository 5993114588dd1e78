#!/usr/bin/env bash
# Makes local stand-ins for the base images, under the names the Dockerfile and the compose file use, from
# Debian's packages: for machines that reach a Debian mirror and PyPI but no image registry.
# Makes only what is missing. Usage: images.sh IMAGE...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=offline/common.sh
. "$here/common.sh"

readonly BASE=windtunnel-debian:$SUITE

present() { docker image inspect "$1" >/dev/null 2>&1; }

make_debian() {
  command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends debootstrap >/dev/null; }
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$root/fs" "$(mirror)" >"$root/log" 2>&1 ||
    { tail -n 20 "$root/log" >&2; fail "debootstrap of $SUITE failed"; }
  # The machine's CA bundle, so that builds reach PyPI behind a proxy that inspects TLS.
  cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/fs/etc/ssl/certs/ca-certificates.crt"
  printf 'path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n' \
    >"$root/fs/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$root"/fs/var/cache/apt/* "$root"/fs/var/lib/apt/lists/* "$root"/fs/usr/share/{doc,man,locale}/* \
    "$root"/fs/var/log/*.log "$root"/fs/dev/*
  tar -C "$root/fs" -c . | docker import --change 'CMD ["bash"]' - "$BASE" >/dev/null
}

[ $# -gt 0 ] || fail "usage: images.sh IMAGE... (python:3.13-slim-trixie, postgres:17)"
for image in "$@"; do
  present "$image" && continue
  folder=$here/${image%%:*}
  [ -f "$folder/Dockerfile" ] || fail "no stand-in is known for the image $image"
  say "no registry answers: making $image from Debian's packages"
  present "$BASE" || make_debian
  docker build --quiet --network host --build-arg "BASE=$BASE" --tag "$image" "$folder" >/dev/null
done
