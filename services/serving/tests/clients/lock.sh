#!/bin/sh
# Resolve the clients' environments again, as `make lock` does with ours: sh services/serving/tests/clients/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")"
for client in tritonclient kserve; do
    ../../../../.venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --no-header --python-version 3.11 "$@" "$client.in" -o "$client.lock" >/dev/null
done
