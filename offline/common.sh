# What engine.sh and images.sh share; sourced by both.
# shellcheck shell=bash

# The Debian release that packages and images are made from.
# shellcheck disable=SC2034  # used by those who source this
SUITE=trixie

say() { printf 'offline: %s\n' "$*" >&2; }

# Exit code 2: an unmet precondition.
fail() {
  say "$1"
  exit 2
}

# The address of this machine's own Debian mirror, as apt itself reads its configuration.
mirror() {
  local address
  # shellcheck disable=SC2016  # apt-get fills it in
  address=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m 1 '/debian/$') ||
    fail "apt knows no Debian mirror on this machine: install Docker, and pull the images on a machine that reaches a registry"
  printf '%s\n' "$address"
}
