#!/usr/bin/env bash
# Installs a Docker Engine with Compose and Buildx from Debian's own packages and starts it, for machines
# without one. Needs root on Debian 12 or newer. Does nothing if a Docker Engine answers already.
#
# Debian 12's own Docker Engine (20.10) is older than the health check option `start_interval` (Engine 25), so the
# packages come from Debian 13; their dependencies are satisfied by Debian 12.
set -euo pipefail
# shellcheck source=offline/common.sh
. "$(dirname "$0")/common.sh"

readonly LOG=${ENGINE_LOG:-/var/log/windtunnel-dockerd.log}
readonly SOURCES=/etc/apt/sources.list.d/windtunnel-$SUITE.sources
readonly PREFERENCES=/etc/apt/preferences.d/windtunnel-$SUITE

answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

plugins() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }

install_packages() {
  [ "$(id -u)" = 0 ] || fail "installing a Docker Engine needs root; install Docker Engine 25 or newer, or run as root"
  command -v apt-get >/dev/null || fail "no apt-get here; install Docker Engine 25 or newer by hand"
  # shellcheck source=/dev/null
  . /etc/os-release
  if [ "${VERSION_CODENAME:-}" != "$SUITE" ]; then
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
      "$(mirror)" "$SUITE" >"$SOURCES"
    # Priority 1: nothing else of the machine is ever upgraded from there.
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 1\n' "$SUITE" >"$PREFERENCES"
  fi
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    "docker.io/$SUITE" "docker-cli/$SUITE" "docker-compose/$SUITE" "docker-buildx/$SUITE" iptables >/dev/null
}

if answers && plugins; then exit 0; fi
if ! command -v dockerd >/dev/null || ! plugins; then
  say "no Docker Engine here: installing one from Debian's packages (about 30 s)"
  install_packages
fi
if ! answers; then
  say "starting the Docker Engine (log: $LOG)"
  rm -f /var/run/docker.pid
  # Without systemd (a container, a CI sandbox) nothing else starts it; it outlives this shell.
  setsid nohup dockerd >"$LOG" 2>&1 </dev/null &
  for _ in $(seq 150); do answers && break; sleep 0.2; done
  answers || { tail -n 20 "$LOG" >&2; fail "the Docker Engine did not start within 30 s; see $LOG"; }
fi
