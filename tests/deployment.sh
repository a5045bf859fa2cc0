#!/usr/bin/env bash
# Checks deploy/ and dashboards/ with the tools that read them. What is missing on this machine is skipped with a message.
#
#   tests/deployment.sh          files
#   tests/deployment.sh --live   also a devnet under a real Prometheus: every panel's expression, and silence of the alerts
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
prometheus=
finish() {
    status=$?
    if [ -n "$prometheus" ]; then
        kill "$prometheus" 2>/dev/null || true
        wait "$prometheus" 2>/dev/null || true
    fi
    if [ -d "$work/devnet" ]; then
        "$floe" devnet down --purge --yes --dir "$work/devnet" >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT INT TERM

# Whether a tool is there; says what is skipped when it is not.
have() {
    command -v "$1" >/dev/null && return
    echo "SKIPPED: $2 (no $1)" >&2
    return 1
}

# Every alert has a case that fires, one that does not, and a runbook.
alerts_are_complete() {
    local alert wrong=0
    for alert in $(sed -n 's/^ *- alert: //p' deploy/alerts.yml | sort -u); do
        [ -f "dashboards/runbooks/$alert.md" ] || { echo "no runbook for $alert" >&2; wrong=1; }
        awk -v alert="$alert" '
            $1 == "-" && $2 == "alertname:" { current = $3 }
            $1 == "exp_alerts:" && current == alert { if ($2 == "[]") silent = 1; else fires = 1 }
            END { exit !(fires && (silent || alert == "FloeWatchdog")) }
        ' deploy/alerts_test.yml || { echo "no case for or against $alert in alerts_test.yml" >&2; wrong=1; }
    done
    for alert in dashboards/runbooks/*.md; do
        alert=$(basename "$alert" .md)
        grep -q "alert: $alert\$" deploy/alerts.yml || { echo "a runbook for $alert, which is no alert" >&2; wrong=1; }
    done
    return "$wrong"
}

# The unit without the binary, which need not be installed here.
unit_is_sound() {
    sed 's,^ExecStart=.*,ExecStart=/bin/true,; s,^\(User\|Group\)=.*,\1=root,' deploy/floe.service > "$work/floe.service"
    systemd-analyze verify --man=no "$work/floe.service"
    # Percent of ten: 25 is an exposure of 2.5.
    systemd-analyze security --offline=yes --threshold=25 "$work/floe.service" | tail -n 1
}

live() {
    local port=$((25000 + RANDOM % 200 * 8)) fired
    (cd "$work" && "$floe" devnet up --nodes 7 --epoch 5s --base-port "$port" --dir "$work/devnet")
    cp deploy/alerts.yml "$work/devnet/"
    printf 'rule_files: [alerts.yml]\n' >> "$work/devnet/prometheus.yml"
    promtool check config "$work/devnet/prometheus.yml"
    curl -fsS "http://127.0.0.1:$port/metrics" | promtool check metrics
    prometheus --config.file="$work/devnet/prometheus.yml" --storage.tsdb.path="$work/series" \
        --web.listen-address="127.0.0.1:$((port + 7))" > "$work/prometheus.log" 2>&1 &
    prometheus=$!
    # Rates need a window of 30 s; nothing is waited for that could come earlier.
    sleep 40
    dashboards/lint.py --prometheus "http://127.0.0.1:$((port + 7))"
    fired=$(curl -fsS "http://127.0.0.1:$((port + 7))/api/v1/alerts" | grep -o '"alertname":"[A-Za-z]*"' | sort -u)
    # A disk that is nearly full here is this machine's trouble, not the network's.
    fired=$(echo "$fired" | grep -v 'FloeDiskNearlyFull' || true)
    if [ "$fired" != '"alertname":"FloeWatchdog"' ]; then
        echo "a healthy devnet raises: $fired" >&2
        return 1
    fi
}

if have python3 "dashboard"; then
    dashboards/generate.py --check
    dashboards/lint.py
fi
alerts_are_complete
if have promtool "alert rules and Prometheus configuration"; then
    promtool check config deploy/prometheus.yml
    promtool check rules deploy/alerts.yml
    promtool test rules deploy/alerts_test.yml
fi
if have amtool "Alertmanager configuration"; then
    amtool check-config deploy/alertmanager.yml
fi
if have systemd-analyze "systemd unit"; then
    unit_is_sound
fi
if have shellcheck "scripts"; then
    shellcheck --severity=warning deploy/*.sh tests/*.sh
fi
if [ "${1:-}" = --live ]; then
    floe=${FLOE:-$PWD/target/release/floe}
    if [ ! -x "$floe" ]; then
        echo "no $floe: cargo build --release -p floe-node" >&2
        exit 1
    fi
    for tool in prometheus promtool python3 curl; do
        have "$tool" "devnet under Prometheus" || exit 1
    done
    live
fi
echo "deployment: nothing wrong found"
