#!/usr/bin/env python3
"""Looks for what is wrong with floe-network.json without a Grafana, and asks a Prometheus for its panels.

    ./lint.py                                    structure, names, coverage; exits 1 with one line per finding
    ./lint.py --prometheus http://127.0.0.1:9090 also runs every expression there; fails on errors, lists what is empty

Known families are read from the catalogue of the node, node/src/telemetry/catalogue.rs.
"""

import json
import pathlib
import re
import sys
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
CATALOGUE = HERE.parent / "node/src/telemetry/catalogue.rs"
KINDS = {"row", "stat", "bargauge", "timeseries", "state-timeline", "table"}
UNITS = {
    "short", "none", "s", "bytes", "Bps", "ops", "reqps", "percentunit", "dateTimeFromNow", "suffix: WAL",
}
# Exported by every node beside the catalogue, or made by Prometheus.
OTHERS = {
    "up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
    "process_threads", "process_start_time_seconds",
}
MATCHERS = ('job=~"$job"', 'instance=~"$instance"', 'network=~"$network"')
# A selector: a metric's name and what stands in the braces after it.
SELECTOR = re.compile(r"\b([a-z_][a-z0-9_]*)\{([^}]*)\}")
OURS = re.compile(r"\b(?:floe|process)_[a-z0-9_]*")


def families():
    found = set(re.findall(r'= "(floe_[a-z0-9_]+)"', CATALOGUE.read_text()))
    if not found:
        sys.exit(f"no families in {CATALOGUE}")
    return found


def base(name, known):
    if name in known:
        return name
    return re.sub(r"_(bucket|sum|count)$", "", name)


def expressions(board):
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['id']} ({panel['title']})", target["expr"]
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']}", annotation["expr"]


def check_expression(where, expression, known):
    for name in OURS.findall(expression):
        if base(name, known) not in known | OTHERS:
            yield f"{where}: {name} is not exported"
    selectors = SELECTOR.findall(expression)
    if not selectors:
        yield f"{where}: selects nothing"
    for name, inside in selectors:
        for matcher in MATCHERS:
            if matcher not in inside:
                yield f"{where}: {name} without {matcher}"
    selected = {name for name, _ in selectors}
    for name in set(OURS.findall(expression)) - selected:
        yield f"{where}: {name} without matchers"
    if re.search(r"\[\d+[smhd]\]", expression):
        yield f"{where}: a fixed interval; use $__rate_interval"
    for by, name in re.findall(r"\bsum\s*(?:by\s*\(([^)]*)\)\s*)?\(\s*(floe_(?:network|live)_[a-z_]+)", expression):
        # Summing the parts of one node's account of the network is sound; summing nodes is not.
        if "instance" not in by:
            yield f"{where}: sums {name} over nodes, which all say the same"
    if re.search(r"\b(max|min|sum|avg)\s*(by\s*\([^)]*\)\s*)?\(\s*floe_live_", expression):
        yield f"{where}: floe_live_* takes the median"


def check_panel(panel):
    where = f"panel {panel.get('id')} ({panel.get('title')})"
    if panel["type"] not in KINDS:
        yield f"{where}: unknown type {panel['type']}"
    if panel["type"] == "row":
        return
    if not panel["title"].endswith("?"):
        yield f"{where}: the title is not a question"
    if "Good looks like" not in panel.get("description", ""):
        yield f"{where}: does not say what good looks like"
    for runbook in re.findall(r"\bFloe[A-Z]\w+", panel["description"]):
        if not (HERE / "runbooks" / f"{runbook}.md").exists():
            yield f"{where}: no runbook {runbook}"
    unit = panel["fieldConfig"]["defaults"].get("unit")
    if unit not in UNITS:
        yield f"{where}: unit {unit}"
    sources = [panel["datasource"]] + [target["datasource"] for target in panel["targets"]]
    if any(source["uid"] != "${datasource}" for source in sources):
        yield f"{where}: a fixed data source"
    letters = [target["refId"] for target in panel["targets"]]
    if not letters or len(set(letters)) != len(letters):
        yield f"{where}: targets {letters}"


def check_grid(panels):
    ids = [panel["id"] for panel in panels]
    if len(set(ids)) != len(ids):
        yield "panel ids repeat"
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] < 0 or place["x"] + place["w"] > 24 or place["w"] < 1 or place["h"] < 1:
            yield f"panel {panel['id']} lies outside the grid"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["id"])
                if other != panel["id"]:
                    yield f"panels {other} and {panel['id']} overlap"
                    return


def findings(board):
    known = families()
    yield from check_grid(board["panels"])
    for panel in board["panels"]:
        yield from check_panel(panel)
    shown = set()
    for where, expression in expressions(board):
        shown |= {base(name, known) for name in OURS.findall(expression)}
        yield from check_expression(where, expression, known)
    for name in sorted(known - shown):
        yield f"{name} is on no panel"
    names = {variable["name"] for variable in board["templating"]["list"]}
    if names != {"datasource", "job", "network", "instance"}:
        yield f"variables {sorted(names)}"


def ask(server, expression):
    for variable, value in (("$__rate_interval", "30s"), ("$job", ".*"), ("$network", ".*"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{server}/api/v1/query?{query}", timeout=30) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as refused:
        return None, json.load(refused).get("error", str(refused))
    return document["data"]["result"], None


def ask_all(board, server):
    """Runs everything; a result that is not a number counts as an error only when Prometheus refuses."""
    failed = empty = asked = 0
    for where, expression in expressions(board):
        asked += 1
        result, error = ask(server, expression)
        if error:
            failed += 1
            print(f"{where}: {error}\n    {expression}")
            continue
        values = [f"{'/'.join(v for k, v in sorted(one['metric'].items()) if k != '__name__') or '-'}={one['value'][1]}"
                  for one in result]
        empty += not values
        print(f"{where}: {'  '.join(values[:10]) or 'EMPTY'}{' ...' if len(values) > 10 else ''}")
    print(f"{asked} expressions, {failed} refused, {empty} empty")
    return failed == 0


def main():
    board = json.loads((HERE / "floe-network.json").read_text())
    if sys.argv[1:2] == ["--prometheus"] and len(sys.argv) == 3:
        if not ask_all(board, sys.argv[2].rstrip("/")):
            sys.exit(1)
    elif sys.argv[1:]:
        sys.exit(__doc__)
    wrong = list(findings(board))
    for finding in wrong:
        print(finding, file=sys.stderr)
    if wrong:
        sys.exit(1)
    print("floe-network.json: nothing wrong found")


main()
