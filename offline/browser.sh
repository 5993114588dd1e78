#!/usr/bin/env bash
# Installs Chromium from Debian's own packages, for the suite's test of the web page. Needs root on Debian.
# Does nothing if the command `chromium` is there.
set -euo pipefail
# shellcheck source=offline/common.sh
. "$(dirname "$0")/common.sh"

if command -v chromium >/dev/null; then exit 0; fi
[ "$(id -u)" = 0 ] || fail "installing Chromium needs root; install it, or run as root"
command -v apt-get >/dev/null || fail "no apt-get here; install Chromium by hand"
say "no Chromium here: installing it from Debian's packages (about 30 s)"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null
