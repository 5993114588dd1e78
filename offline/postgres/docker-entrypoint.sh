#!/usr/bin/env bash
# Creates the database on a fresh volume, then runs the given command: the contract of the postgres image,
# as far as POSTGRES_USER, POSTGRES_PASSWORD[_FILE], POSTGRES_DB and leaving root go. Of the image's stand-in, and of
# the local engine.
set -euo pipefail

# Postgres refuses to run as root, so root becomes nobody, with the one right that its folder may need: to lie below
# a folder that is for root alone.
leave_root() {
  local drop=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups --no-new-privs)
  local right='-all,+dac_override'
  local keep=(--inh-caps="$right" --ambient-caps="$right" --bounding-set="$right")
  "${drop[@]}" "${keep[@]}" true 2>/dev/null || keep=()
  mkdir -p "$PGDATA"
  chown -R nobody "$PGDATA"
  exec "${drop[@]}" "${keep[@]}" "${BASH_SOURCE[0]}" "$@"
}

create_database() {
  : "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
  password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}")}
  initdb --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$password") --auth-local trust \
    --auth-host scram-sha-256 --no-sync >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  if [ "$POSTGRES_DB" != postgres ]; then
    echo "CREATE DATABASE \"$POSTGRES_DB\";" | postgres --single -j postgres >/dev/null
  fi
}

if [ "$1" = postgres ]; then
  [ "$(id -u)" != 0 ] || leave_root "$@"
  [ -s "$PGDATA/PG_VERSION" ] || create_database
  # Before the rest, where it may be set otherwise.
  set -- postgres -c 'listen_addresses=*' "${@:2}"
fi
exec "$@"
