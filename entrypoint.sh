#!/usr/bin/env bash
# The first thing that every container, and every process of the local engine, does.
# Usage: entrypoint.sh SERVICE [ARGUMENT...]
#        entrypoint.sh exec COMMAND [ARGUMENT...]     for a service of your own, in an overlay
# Refuses anything that could reach real AWS, makes or awaits the secrets, then becomes the service or the command.
set -euo pipefail

# Where the secrets are; LocalStack has none.
readonly SECRETS=${SECRETS_FOLDER:-}

# Exit code 2: an unmet precondition, nothing was started.
fail() {
  printf 'entrypoint: %s\n' "$1" >&2
  exit 2
}

# Before anything else: the rules, and why, are in that file. Its exit code for a refusal is 2.
refuse_real_aws() {
  python -IS "$WINDTUNNEL_HOME/windtunnel/services/real_aws.py"
}

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

# Once per volume. Read by Airflow through its own `_cmd` options, by Postgres through POSTGRES_PASSWORD_FILE.
make_secrets() {
  [ ! -e "$SECRETS/complete" ] || return 0
  [ -w "$SECRETS" ] || fail "cannot write secrets to $SECRETS. Remove the volume: down --volumes"
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

# How many tasks run at a time. Airflow reads it as it is imported, so every service has it.
export_slots() {
  AIRFLOW__CORE__PARALLELISM=$(python -IS "$WINDTUNNEL_HOME/windtunnel/services/slots.py") ||
    fail "nothing was started"
  export AIRFLOW__CORE__PARALLELISM
}

# The local engine has a fork server: a process that has imported Airflow, and that services are forked from.
become() {
  [ -z "${FORK_SERVER_SOCKET:-}" ] || exec python -IS "$WINDTUNNEL_HOME/windtunnel/local/fork_client.py" "$@"
  exec "$@"
}

# Tasks want buckets and functions. One that cannot be made does not keep the others from running.
await_seeding() {
  python -IS "$WINDTUNNEL_HOME/windtunnel/services/probes.py" seeded --wait ||
    fail "LocalStack does not say that it has made buckets and functions; see its log"
}

prepare() {
  refuse_real_aws
  export_slots
  await_secrets
  export_start
}

run_airflow() {
  prepare
  become airflow "$@"
}

service=${1:-}
[ $# -eq 0 ] || shift
case $service in
  init)
    refuse_real_aws
    export_slots
    make_secrets
    export_start
    become python -m windtunnel.services.init "$@"
    ;;
  fork-server)
    refuse_real_aws
    export_slots
    exec python -m windtunnel.local.fork_server
    ;;
  webserver) run_airflow api-server "$@" ;;
  # Without log servers: the webserver reads running tasks' logs from the volume that they share.
  triggerer) run_airflow triggerer --skip-serve-logs "$@" ;;
  scheduler)
    prepare
    await_seeding
    become airflow scheduler --skip-serve-logs "$@"
    ;;
  dag-processor)
    prepare
    # Bundles of one's own may be in a bucket.
    [ -z "${AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST:-}" ] || await_seeding
    become airflow dag-processor "$@"
    ;;
  celery-worker)
    prepare
    await_seeding
    # What an earlier one has left says nothing of this one.
    rm -f "${TMPDIR:-/tmp}/celery-heartbeat"
    become airflow celery worker --skip-serve-logs --without-mingle --without-gossip "$@"
    ;;
  postgres)
    await_secrets
    exec docker-entrypoint.sh postgres "$@"
    ;;
  localstack)
    refuse_real_aws
    exec python -m localstack.runtime.main "$@"
    ;;
  ecs-agent)
    refuse_real_aws
    exec python -m windtunnel.agent
    ;;
  docker-agent)
    refuse_real_aws
    exec python -m windtunnel.docker_agent
    ;;
  exec)
    [ $# -gt 0 ] || fail "exec needs a command: entrypoint.sh exec COMMAND [ARGUMENT...]"
    prepare
    exec "$@"
    ;;
  *) fail "unknown service '$service'; known are exec, init, webserver, scheduler, dag-processor, triggerer, celery-worker, postgres, localstack, ecs-agent, docker-agent, fork-server" ;;
esac
