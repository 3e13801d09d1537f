# syntax=docker/dockerfile:1
# One image per service: docker build -f infra/docker/service.Dockerfile --build-arg SERVICE=ingestion .
# Only what this service's own pyproject.toml asks for is installed, in the versions and with the hashes of the lock.

FROM python:3.11-slim-bookworm AS build
ARG SERVICE
ENV UV_LINK_MODE=copy UV_CACHE_DIR=/var/cache/uv PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

COPY requirements-uv.lock requirements.lock requirements-dev.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-uv.lock && python -m venv /opt/millrace

COPY libs libs
COPY services/${SERVICE} services/${SERVICE}
RUN --mount=type=cache,target=/var/cache/uv \
    for package in libs/* services/${SERVICE}; do \
        uv build --quiet --wheel --build-constraints requirements-dev.lock --require-hashes --out-dir wheels "$package" || exit 1; \
    done \
    && uv pip install --quiet --python /opt/millrace/bin/python --compile-bytecode \
        --constraint requirements.lock --find-links wheels "millrace-${SERVICE}"

FROM python:3.11-slim-bookworm
ARG SERVICE
LABEL org.opencontainers.image.title="millrace-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"

# Folders of named volumes take over this owner when they are first mounted.
RUN useradd --system --uid 10001 --home-dir /var/lib/millrace --create-home millrace \
    && install -d -o millrace -g millrace /var/lib/millrace /var/lib/millrace-objects \
        /var/lib/millrace/keys /var/lib/millrace/keys/trusted
COPY --from=build /opt/millrace /opt/millrace

ENV PATH=/opt/millrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONUTF8=1 \
    MILLRACE_SERVICE=${SERVICE} \
    MILLRACE_HOME=/var/lib/millrace \
    OBJECT_STORE_URL=file:///var/lib/millrace-objects \
    HTTP_HOST=0.0.0.0 \
    LOG_JSON=true
USER millrace
WORKDIR /var/lib/millrace
CMD ["sh", "-c", "exec python -m millrace_${MILLRACE_SERVICE}"]
