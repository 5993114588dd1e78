# Two images from one base. Each target is built in two stages, so that no build tool ends up in it.
# Base image names are plain: if no registry answers, offline/images.sh makes images of the same names.
FROM python:3.13-slim-trixie AS base
FROM base AS builder
# Certificates for a proxy that inspects TLS: those of the base image, or a bundle given as the secret `ca_bundle`.
ENV UV_SYSTEM_CERTS=1 UV_CACHE_DIR=/cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON=/usr/local/bin/python3.13 UV_NO_PROGRESS=1
COPY --chmod=755 <<'SCRIPT' /usr/local/bin/with-ca
#!/bin/sh
if [ -s /run/secrets/ca_bundle ]; then export SSL_CERT_FILE=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; fi
exec "$@"
SCRIPT
COPY locks/uv.txt /locks/
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    with-ca pip install --quiet --root-user-action ignore --cache-dir /cache/pip --require-hashes -r /locks/uv.txt

FROM builder AS airflow-builder
COPY locks/airflow.txt /locks/
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    uv venv --quiet /opt/venv && with-ca uv pip sync --quiet --python /opt/venv --require-hashes /locks/airflow.txt
# What the user's DAGs need beyond that; it must agree with the lock, whose hashes are checked, too.
ARG REQUIREMENTS_FILE=requirements.txt
COPY ${REQUIREMENTS_FILE} /locks/requirements.txt
# Constraints that it names, if ./windtunnel has found any: a pattern may match nothing.
COPY locks/airflow.txt .windtunne[l]/constraints.tx[t] /locks/
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    with-ca uv pip install --quiet --python /opt/venv --constraints /locks/airflow.txt -r /locks/requirements.txt

FROM base AS airflow
ENV AIRFLOW_HOME=/opt/airflow AIRFLOW_CONFIG=/opt/airflow/config/airflow.cfg \
    PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/airflow:/opt/windtunnel
# Airflow's own image has this user: any uid may run it as long as its group is 0.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow \
 && install -d -o airflow -g 0 -m 775 /opt/airflow/logs /opt/airflow/shared /run/secrets/windtunnel /var/lib/windtunnel
COPY --from=airflow-builder /opt/venv /opt/venv
USER airflow
WORKDIR /opt/airflow
ENTRYPOINT ["/entrypoint.sh"]

FROM builder AS localstack-builder
COPY locks/localstack.txt locks/lambda.txt /locks/
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    uv venv --quiet /opt/localstack && with-ca uv pip sync --quiet --python /opt/localstack --require-hashes /locks/localstack.txt \
 && uv venv --quiet /opt/lambda && with-ca uv pip sync --quiet --python /opt/lambda --require-hashes /locks/lambda.txt
COPY emulator /emulator
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    with-ca uv pip install --quiet --python /opt/localstack --no-deps /emulator

FROM base AS localstack
ENV PATH=/opt/localstack/bin:$PATH PYTHONPATH=/opt/windtunnel LAMBDA_RUNTIME_PYTHON=/opt/lambda/bin/python \
    UV=/usr/local/bin/uv PACKAGES_FOLDER=/var/lib/localstack/state/packages INSTALLER_UV_CACHE_DIR=/var/lib/localstack/state/uv
RUN useradd --uid 1000 --create-home localstack \
 && install -d -o localstack /var/lib/localstack /var/lib/localstack/state /usr/lib/localstack /etc/localstack /tmp/localstack
COPY --from=localstack-builder /opt/localstack /opt/localstack
COPY --from=localstack-builder /opt/lambda /opt/lambda
# For the requirements of functions.
COPY --from=localstack-builder /usr/local/bin/uv /usr/local/bin/uv
USER localstack
# Index of all service models, 2 s at every first start otherwise.
RUN python -m localstack.aws.spec
WORKDIR /opt/windtunnel
ENTRYPOINT ["/entrypoint.sh"]

# For the tests of what runs beside Airflow or in LocalStack. The tools have a folder of their own, so that the
# venvs under test stay as they are shipped.
FROM builder AS test-builder
COPY locks/test.txt /locks/
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/cache \
    with-ca uv pip install --quiet --target /opt/test --no-deps --require-hashes -r /locks/test.txt

FROM airflow AS airflow-test
ENV PYTHONPATH=$PYTHONPATH:/opt/test
COPY --from=test-builder /opt/test /opt/test

FROM localstack AS localstack-test
ENV PYTHONPATH=$PYTHONPATH:/opt/test:/checkout/emulator/src
COPY --from=test-builder /opt/test /opt/test
