#!/usr/bin/env bash
# The first thing that every container, and every process of the local engine, does.
# Usage: entrypoint.sh SERVICE [ARGUMENT...]
# Refuses anything that could reach real AWS, makes or awaits the secrets, then becomes the named service.
set -euo pipefail

# Where the secrets are; LocalStack has none.
readonly SECRETS=${SECRETS_FOLDER:-}

# Exit code 2: an unmet precondition, nothing was started.
fail() {
  printf 'entrypoint: %s\n' "$1" >&2
  exit 2
}

# Windtunnel emulates AWS. Whatever might make boto3 talk to the real one is refused.
refuse_real_aws() {
  local name host
  case ${AWS_ACCESS_KEY_ID:-} in
    AKIA* | ASIA*) fail "AWS_ACCESS_KEY_ID looks like a real key (${AWS_ACCESS_KEY_ID:0:4}…). Unset it: Windtunnel never talks to real AWS." ;;
  esac
  for name in AWS_PROFILE AWS_DEFAULT_PROFILE; do
    [ -z "${!name:-}" ] || fail "$name is set ('${!name}'). Unset it: Windtunnel never reads real AWS profiles."
  done
  case ${AWS_IGNORE_CONFIGURED_ENDPOINT_URLS:-false} in
    [Tt][Rr][Uu][Ee]) fail "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true makes boto3 ignore the emulator's address. Unset it." ;;
  esac
  [ -n "${AWS_ENDPOINT_URL:-}" ] || fail "AWS_ENDPOINT_URL is not set: boto3 would talk to real AWS. Set it to the emulator's address."
  for name in $(compgen -e | grep '^AWS_ENDPOINT_URL'); do
    host=${!name#*://} host=${host%%[/?#]*} host=${host##*@} host=${host%%:*}
    # A name without a dot is one of this Compose project's services.
    [[ $host =~ ^([A-Za-z0-9_-]+|127(\.[0-9]{1,3}){3})$ ]] ||
      fail "$name points to '${!name}', which is not local. Set it to the emulator's address."
  done
}

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

# Once per volume. Read by Airflow through its own `_cmd` options, by Postgres through POSTGRES_PASSWORD_FILE.
make_secrets() {
  [ ! -e "$SECRETS/complete" ] || return 0
  [ -w "$SECRETS" ] || fail "cannot write secrets to $SECRETS. Remove the volume: ./windtunnel down --volumes"
  local password
  password=$(random | tr -d '=')
  random >"$SECRETS/fernet_key"
  # Both sign with HS512, which wants 64 bytes.
  printf "%s%s" "$(random)" "$(random)" >"$SECRETS/jwt_secret"
  printf "%s%s" "$(random)" "$(random)" >"$SECRETS/api_secret_key"
  printf '%s' "$password" >"$SECRETS/postgres_password"
  printf '{"admin": "%s"}' "$(random | tr -dc 'a-zA-Z0-9' | head -c 16)" >"$SECRETS/simple_auth_manager_passwords.json"
  touch "$SECRETS/complete"
}

await_secrets() {
  [ -n "$SECRETS" ] || fail "SECRETS_FOLDER is not set: it names the folder in which 'init' makes the secrets"
  for _ in $(seq 600); do
    [ ! -e "$SECRETS/complete" ] || return 0
    sleep 0.05
  done
  fail "no secrets in $SECRETS after 30 s: the service 'init' makes them; see its log"
}

# When the stack was first started, in seconds since the epoch: the demo's schedule begins soon after.
export_start() {
  WINDTUNNEL_STARTED=$(stat -c %Y "$SECRETS/complete")
  export WINDTUNNEL_STARTED
}

# The local engine has a fork server: a process that has imported Airflow, and that services are forked from.
become() {
  [ -z "${FORK_SERVER_SOCKET:-}" ] || exec python -IS "$WINDTUNNEL_HOME/windtunnel/local/fork_client.py" "$@"
  exec "$@"
}

run_airflow() {
  refuse_real_aws
  await_secrets
  export_start
  become airflow "$@"
}

service=${1:-}
[ $# -eq 0 ] || shift
case $service in
  init)
    refuse_real_aws
    make_secrets
    export_start
    become python -m windtunnel.services.init "$@"
    ;;
  fork-server)
    refuse_real_aws
    exec python -m windtunnel.local.fork_server
    ;;
  webserver) run_airflow api-server "$@" ;;
  # Without log servers: the webserver reads running tasks' logs from the volume that they share.
  scheduler | triggerer) run_airflow "$service" --skip-serve-logs "$@" ;;
  dag-processor) run_airflow "$service" "$@" ;;
  postgres)
    await_secrets
    exec docker-entrypoint.sh postgres "$@"
    ;;
  localstack)
    refuse_real_aws
    exec python -m localstack.runtime.main "$@"
    ;;
  *) fail "unknown service '$service'; known are init, webserver, scheduler, dag-processor, triggerer, postgres, localstack, fork-server" ;;
esac
