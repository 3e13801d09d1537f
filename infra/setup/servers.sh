#!/usr/bin/env bash
# The servers that tests need on this machine: Java and Maven for Kafka, and PostgreSQL. Says in one line what is
# missing; installs PostgreSQL itself only as root on Debian.
set -euo pipefail

missing() {
    echo "setup-servers: $1" >&2
    exit 1
}

have_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null
}

java_hint='on Debian: apt-get install openjdk-17-jdk-headless maven'
[ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ] || command -v java >/dev/null || missing "no java found (17 or newer is needed); $java_hint"
command -v mvn >/dev/null || missing "no mvn found; $java_hint"

if ! have_postgres; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo 'setup-servers: no PostgreSQL server found, installing Debian'\''s'
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    fi
    have_postgres || missing 'no PostgreSQL server found; on Debian: apt-get install --no-install-recommends postgresql'
fi
