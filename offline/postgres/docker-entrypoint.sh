#!/usr/bin/env bash
# Creates the database on a fresh volume, then runs the given command: the contract of the postgres image,
# as far as POSTGRES_USER, POSTGRES_PASSWORD[_FILE] and POSTGRES_DB go.
set -euo pipefail

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
  password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}")}
  initdb --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$password") --auth-local trust \
    --auth-host scram-sha-256 --no-sync >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  if [ "$POSTGRES_DB" != postgres ]; then
    echo "CREATE DATABASE \"$POSTGRES_DB\";" | postgres --single -j postgres >/dev/null
  fi
fi
exec "$@" ${1:+$([ "$1" = postgres ] && echo "-c listen_addresses=*")}
