#!/usr/bin/env bash
# checks/senders.sh
#
# Runs the tests in which programs that others wrote speak with a gateway: Prometheus as a sender and as a reader,
# vmagent, the exporter of OpenTelemetry, prometheus-api-client, codemirror-promql. Installs what is missing of them from
# Debian's, Python's and npm's packages where it may; what cannot be installed is skipped, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

apt_package() {
    command -v "$1" >/dev/null || apt-get install -y -q --no-install-recommends "$2" >/dev/null ||
        echo "SKIPPED $1: $2 cannot be installed"
}
there=$(command -v prometheus vmagent | wc -l || true)
apt_package prometheus prometheus
apt_package vmagent victoria-metrics
# Debian starts what it installs; here only tests do.
[ "$there" = 2 ] || systemctl disable --now prometheus victoria-metrics 2>/dev/null || true

packages="${ANNALS_SENDERS:-${XDG_CACHE_HOME:-$HOME/.cache}/annals-senders}"
export PYTHONPATH="$packages/python${PYTHONPATH:+:$PYTHONPATH}"
python_package() {
    python3 -c "import $1" 2>/dev/null ||
        python3 -m pip install -q --target "$packages/python" "${@:2}" ||
        echo "SKIPPED $2: it cannot be installed"
}
python_package opentelemetry.sdk.metrics,opentelemetry.exporter.otlp.proto.http.metric_exporter \
    opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
python_package prometheus_api_client prometheus-api-client

# The versions that the page has.
mkdir -p "$packages/npm"
cp gateway/ui/package.json gateway/ui/package-lock.json "$packages/npm"
npm ci --omit=dev --ignore-scripts --silent --prefix "$packages/npm" ||
    echo "SKIPPED codemirror-promql: it cannot be installed"
export ANNALS_NODE_MODULES="$packages/npm/node_modules"

cargo test -p annals-gateway --test socket -- --nocapture senders:: clients::
