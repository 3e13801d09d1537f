#!/usr/bin/env bash
# The load generators that benchmarks/serving measures with: wrk for HTTP, h2load for gRPC. Installs them only as root on Debian.
set -euo pipefail

packages=()
command -v wrk >/dev/null || packages+=(wrk)
command -v h2load >/dev/null || packages+=(nghttp2-client)
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "load generators: installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
else
    echo "load generators: missing; on Debian: apt-get install ${packages[*]}" >&2
    exit 1
fi
