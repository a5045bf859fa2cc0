#!/usr/bin/env bash
# Operators who never met: every node in a network namespace of its own, initialised by hand, joined by a switch that
# knows nothing but Ethernet. Needs root and iproute2; skipped with a message where there is neither.
set -euo pipefail
cd "$(dirname "$0")/.."
floe=${FLOE:-$PWD/target/release/floe}

if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null || ! ip netns add floe-probe 2>/dev/null; then
    echo "SKIPPED: nodes in network namespaces (needs root and ip netns)" >&2
    exit 0
fi
ip netns del floe-probe

work=$(mktemp -d)
nodes="1 2 3 4"
declare -A process
finish() {
    status=$?
    for pid in "${process[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    [ "$status" = 0 ] || tail -n 15 "$work"/*/log >&2 || true
    for node in $nodes 5 alone switch; do ip netns del "floe-$node" 2>/dev/null || true; done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT INT TERM

say() { echo "namespaces: $*"; }
# Runs a command where node $1 lives.
on() { local node=$1; shift; ip netns exec "floe-$node" "$@"; }
# The operator of node $1 types floe.
floe_on() { local node=$1; shift; on "$node" "$floe" "$@"; }
# Waits for a command to succeed.
wait_for() {
    local what=$1 tries=300; shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "waited in vain: $what" >&2; return 1; }
        sleep 0.2
    done
}
start() {
    # The command itself, not a function: what is killed later must be the node and not a shell before it.
    ip netns exec "floe-$1" "$floe" node run --config "$work/$1/floe.toml" >>"$work/$1/log" 2>&1 &
    process[$1]=$!
    disown
}
# As a power cut would.
cut() {
    kill -9 "${process[$1]}"
    while kill -0 "${process[$1]}" 2>/dev/null; do sleep 0.05; done
    unset "process[$1]"
}
ready() { on "$1" curl -fs http://127.0.0.1:7101/readyz; }
height() { floe_on "$1" --json status | jq .height; }
decides_beyond() { [ "$(height "$1")" -gt "$2" ]; }

plug() {
    ip netns add "floe-$1"
    ip -n floe-switch link add "port-$1" type veth peer name eth0 netns "floe-$1"
    ip -n floe-switch link set "port-$1" master br0 up
    ip -n "floe-$1" addr add "10.77.0.$1/24" dev eth0
    ip -n "floe-$1" link set eth0 up
    ip -n "floe-$1" link set lo up
}

ip netns add floe-switch
ip -n floe-switch link add br0 type bridge
ip -n floe-switch link set br0 up
for node in $nodes; do plug "$node"; done

say "four operators initialise their nodes and put a genesis together"
members=()
for node in $nodes; do
    floe_on "$node" --quiet node init --dir "$work/$node" --name "op-$node" --address "/ip4/10.77.0.$node/tcp/7100" \
        --domain "city-$node" >/dev/null
    members+=(--member "$work/$node/member.json")
done
"$floe" genesis new --name four --shards 16 --epoch 4s -o "$work/genesis.json" "${members[@]}" >/dev/null
# Terms short enough to wait for: this is what the four agree on.
sed -i 's/"term_epochs": 24/"term_epochs": 4/' "$work/genesis.json"
for node in $nodes; do
    floe_on "$node" --quiet node init --dir "$work/$node" --genesis "$work/genesis.json" >/dev/null
    start "$node"
done
for node in $nodes; do wait_for "node $node is ready" ready "$node"; done

say "a file stored at one comes back at another"
head -c 3000000 /dev/urandom >"$work/file"
id=$(floe_on 1 store "$work/file" --epochs 500 | tail -n 1)
floe_on 3 read "$id" -o "$work/back"
cmp "$work/file" "$work/back"

say "node 2 moves to another disk with its key and its data"
cut 2
cp -a "$work/2" "$work/moved" && rm -rf "$work/2" && mv "$work/moved" "$work/2"
before=$(height 1)
start 2
wait_for "node 2 is ready" ready 2
wait_for "decisions go on" decides_beyond 2 "$before"
floe_on 2 read "$id" -o "$work/back"
cmp "$work/file" "$work/back"

say "node 3 moves to another disk with its key and without its data"
cut 3
rm -rf "$work/3/data" && mkdir "$work/3/data"
before=$(height 1)
start 3
wait_for "node 3 is ready" ready 3
wait_for "decisions go on" decides_beyond 3 "$((before + 8))"
floe_on 3 read "$id" -o "$work/back"
cmp "$work/file" "$work/back"

say "a fifth operator comes, has seats, and leaves"
plug 5
floe_on 5 --quiet node init --dir "$work/5" --name op-5 --address /ip4/10.77.0.5/tcp/7100 --domain city-5 >/dev/null
floe_on 5 --quiet node init --dir "$work/5" --genesis "$work/genesis.json" >/dev/null
start 5
wait_for "node 5 is ready" ready 5
"$floe" --quiet account new -o "$work/owner.key" >/dev/null
owner=$(sed -n 's/^public = "\(.*\)"/\1/p' "$work/owner.key")
floe_on 1 account send "$owner" 300000WAL --key "$work/1/keys/account.key" >/dev/null
floe_on 5 node candidacy --config "$work/5/floe.toml" --owner "$owner" --stake 250000WAL --name op-5 \
    --address /ip4/10.77.0.5/tcp/7100 --domain city-5 -o "$work/candidacy.json" >/dev/null
floe_on 5 committee join "$work/candidacy.json" --key "$work/owner.key" >/dev/null
seated() { floe_on 1 --json committee show | jq -e '.members[] | select(.name == "op-5")'; }
wait_for "node 5 has seats" seated
floe_on 5 read "$id" -o "$work/back"
cmp "$work/file" "$work/back"
node=$(on 5 curl -fs http://127.0.0.1:7101/v1/node | jq -r .node)
floe_on 5 committee leave --node "$node" --key "$work/owner.key" >/dev/null
may_stop() { floe_on 5 --json node can-stop | jq -e '.forGood.answer == "now"'; }
unseated() { ! seated && may_stop; }
wait_for "node 5 may be switched off" unseated
cut 5

say "an audit is checked where there is no network"
decided=$(floe_on 1 --json epoch | jq .epoch)
floe_on 1 audit "$id" --epoch "$decided" -o "$work/proof" --genesis "$work/genesis.json" >/dev/null
ip netns add floe-alone
ip netns exec floe-alone "$floe" verify "$work/proof" --genesis "$work/genesis.json"

for node in $nodes; do
    twice=$(on "$node" curl -fs http://127.0.0.1:7101/metrics | awk '$1 == "floe_consensus_equivocations_total" { print $2 }')
    [ "$twice" = 0 ] || { echo "node $node saw a vote signed twice" >&2; exit 1; }
done
say "done: nobody signed anything twice"
