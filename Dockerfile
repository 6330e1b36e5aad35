# One image for each service and for the operators' command:
#   docker build --build-arg SERVICE=task-api --tag taskstream/task-api .
# SERVICE is task-api, reminders, recurrence, notifier or cli. docs/containers.md tells how they are meant to run.
ARG PYTHON_IMAGE=python:3.13.9-slim-bookworm
ARG SERVICE=task-api

# ---------------------------------------------------------------- what is installed

FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# For strip, which leaves no trace in the image; its version does not matter.
# hadolint ignore=DL3008
RUN apt-get update -q && apt-get install -q -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*

# Its own stage and layer: only a new lock makes it again, and only a new lock is pulled again.
FROM tools AS dependencies
ARG SERVICE
# The lock of a service takes the place of the command's, which lies elsewhere.
COPY cli/requirements.lock services/${SERVICE}*/requirements.lock ./
# Of http-ece there is only the source, which is Python alone.
RUN pip install --quiet --require-hashes --no-deps --ignore-installed --no-compile \
        --only-binary=:all: --no-binary=http-ece --prefix=/installed --requirement requirements.lock \
    # Symbols for debuggers, C sources and tests of others: a third of it all.
 && find /installed -name '*.so*' -type f -exec strip --strip-unneeded {} + \
 && find /installed -type d -name tests -prune -exec rm -rf {} + \
 && find /installed -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /installed/lib

FROM tools AS code
ARG SERVICE
COPY requirements-dev.lock .
RUN awk '/^uv-build==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements-dev.lock > uv-build.lock \
 && pip install --quiet --require-hashes --no-deps --requirement uv-build.lock
COPY packages packages
COPY services services
COPY cli cli
# The hash of a source is looked at, so that one that is replaced while the container runs counts.
# hadolint ignore=DL3013
RUN if [ "${SERVICE}" = cli ]; then set -- ./cli; else set -- ./packages/service-kit "./services/${SERVICE}"; fi \
 && pip install --quiet --no-deps --no-build-isolation --no-compile --no-index --target /app \
        ./packages/event-contracts "$@" \
 && python -m compileall -q -j 0 --invalidation-mode checked-hash /app

# ---------------------------------------------------------------- what runs

FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.vendor="Taskstream" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="docs/containers.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV PATH=/app/bin:${PATH} \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SERVICE_VERSION=${VERSION}
RUN groupadd --system --gid 10001 taskstream \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin taskstream
WORKDIR /app
COPY --from=dependencies /installed /usr/local
COPY --from=code /app /app
USER 10001:10001

FROM runtime AS service
ENV APP_HOST=0.0.0.0
# Alive, not ready: a container that waits for its database is not broken. The port is a setting, hence the shell.
# hadolint ignore=DL3025
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD python -m service_kit.probe "http://127.0.0.1:${APP_PORT}/health/live"

FROM service AS task-api
LABEL org.opencontainers.image.title="task-api" \
      org.opencontainers.image.description="Taskstream: users, tasks, series, history and the outbox"
ENV APP_PORT=8000
EXPOSE 8000
ENTRYPOINT ["python", "-m", "task_api"]

FROM service AS reminders
LABEL org.opencontainers.image.title="reminders" \
      org.opencontainers.image.description="Taskstream: when a reminder fires"
ENV APP_PORT=8001
EXPOSE 8001
ENTRYPOINT ["python", "-m", "reminders"]

FROM service AS recurrence
LABEL org.opencontainers.image.title="recurrence" \
      org.opencontainers.image.description="Taskstream: what the next occurrence is"
ENV APP_PORT=8002
EXPOSE 8002
ENTRYPOINT ["python", "-m", "recurrence"]

FROM service AS notifier
LABEL org.opencontainers.image.title="notifier" \
      org.opencontainers.image.description="Taskstream: how a person hears of it"
ENV APP_PORT=8003
EXPOSE 8003
ENTRYPOINT ["python", "-m", "notifier"]

FROM runtime AS cli
LABEL org.opencontainers.image.title="cli" \
      org.opencontainers.image.description="Taskstream: the operators' command"
# Commands that end, and an exporter that Prometheus watches.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "taskstream_cli"]

# A SERVICE that is none of these stages stops the build here.
# hadolint ignore=DL3006
FROM ${SERVICE}
