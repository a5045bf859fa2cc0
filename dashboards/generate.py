#!/usr/bin/env python3
"""Writes floe-network.json, the Grafana dashboard, from the rows below.

    ./generate.py           writes the file
    ./generate.py --check   fails when the committed file is not what would be written

Three kinds of metrics, three ways to fold the nodes into one number:

    floe_network_*   decided, the same on every node         max, never a sum over nodes
    floe_live_*      what a node sees of the others now      median
    all others       the node's own                          sum, or a line per node

Every expression carries the same four variables, so that a choice at the top of the page applies to every panel.
"""

import json
import pathlib
import sys

TARGET = pathlib.Path(__file__).with_name("floe-network.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
VERDICT_COLOURS = {
    "intact": GREEN,
    "tolerated": BLUE,
    "undecided": GREY,
    "unavailable": ORANGE,
    "lost": RED,
    "forgotten": "#5a5a5a",
    "invalid": "purple",
}
# Blobs with one of these verdicts are defended; without any the margin says nothing.
DEFENDED = 'verdict=~"intact|tolerated|undecided|unavailable|lost"'


# Expressions.


def pick(metric, extra=""):
    """The series of `metric` that the variables at the top of the page select."""
    matchers = 'job=~"$job",network=~"$network",instance=~"$instance"'
    return f"{metric}{{{matchers}{',' + extra if extra else ''}}}"


def decided(metric, by="", extra=""):
    """A floe_network_* number: every node exports the same one."""
    return f"max {f'by ({by}) ' if by else ''}({pick(metric, extra)})"


def live(metric, by=""):
    """A floe_live_* number: nodes may differ, the median counts."""
    return f"quantile {f'by ({by}) ' if by else ''}(0.5, {pick(metric)})"


def rate(metric, extra=""):
    return f"rate({pick(metric, extra)}[$__rate_interval])"


def percentile(share, metric, by=""):
    """From a histogram over all selected nodes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(metric + '_bucket')}))"


def when_defended(expression):
    blobs = decided("floe_network_blobs", "verdict", DEFENDED)
    return f"({expression}) and on () (sum ({blobs}) > 0)"


def disagreeing(metric, by):
    """Groups in which nodes at the same epoch say different things about `metric`."""
    epochs = f'count_values by (job, network, instance) ("epoch", {pick("floe_network_epoch")})'
    told = f"({pick(metric)} * on (job, network, instance) group_left (epoch) {epochs})"
    return f"(count (max by (epoch, {by}) {told} != min by (epoch, {by}) {told}) or vector(0))"


# Panels.


def target(expression, legend="", instant=False, table=False):
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "format": "table" if table else "time_series",
        "instant": instant,
        "legendFormat": legend,
        "range": not instant,
    }


def steps(*pairs):
    """Thresholds: a colour from each value on, the first from below."""
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": None if at == 0 else value} for at, (colour, value) in enumerate(pairs)],
    }


def coloured(colours):
    """A fixed colour for each name of a series."""
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
        }
        for name, colour in colours.items()
    ]


def line(names, colour=GREY):
    """Series drawn as dashed limits."""
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [
                {"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}},
                {"id": "custom.lineStyle", "value": {"dash": [8, 8], "fill": "dash"}},
                {"id": "custom.fillOpacity", "value": 0},
            ],
        }
        for name in names
    ]


def panel(kind, title, good, targets, width, height, unit, **more):
    """What every panel has. `good` says how it looks when all is well."""
    defaults = {"unit": unit, "thresholds": more.get("thresholds") or steps((GREEN, None))}
    for name in ("decimals", "mappings", "max", "min", "noValue"):
        if name in more:
            defaults[name] = more[name]
    defaults["color"] = {"mode": more.get("colour", "thresholds")}
    if "custom" in more:
        defaults["custom"] = more["custom"]
    for letter, entry in zip("ABCDEFGH", targets, strict=False):
        entry["refId"] = letter
    return {
        "type": kind,
        "title": title,
        "description": good,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
        "options": more.get("options", {}),
        "targets": targets,
        "transformations": more.get("transformations", []),
        "size": (width, height),
    }


REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title, good, targets, unit="short", width=4, height=4, **more):
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": REDUCE,
        "textMode": more.pop("text", "auto"),
        "wideLayout": True,
    }
    return panel("stat", title, good, targets, width, height, unit, options=options, **more)


def bars(title, good, targets, unit="short", width=8, height=8, **more):
    options = {
        "displayMode": "basic",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": REDUCE,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return panel("bargauge", title, good, targets, width, height, unit, options=options, **more)


def graph(title, good, targets, unit="short", width=8, height=8, stack=False, **more):
    custom = {
        "drawStyle": "line",
        "fillOpacity": 40 if stack else 5,
        "lineInterpolation": "stepAfter" if more.pop("step", False) else "linear",
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stack else "none"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more.setdefault("min", 0)
    return panel(
        "timeseries", title, good, targets, width, height, unit, custom=custom, options=options,
        colour="palette-classic", **more,
    )


def timeline(title, good, targets, mappings, width=16, height=9):
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False}
    return panel(
        "state-timeline", title, good, targets, width, height, "short", custom=custom, options=options,
        mappings=mappings, thresholds=steps((GREEN, None), (RED, 1)),
    )


def table(title, good, targets, hidden, names, width=8, height=9):
    options = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
    }
    organise = {
        "id": "organize",
        "options": {"excludeByName": {name: True for name in hidden}, "indexByName": {}, "renameByName": names},
    }
    return panel(
        "table", title, good, targets, width, height, "none", options=options,
        transformations=[{"id": "merge", "options": {}}, organise],
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
    )


# Rows.


def blobs_row():
    missing = f"({live('floe_live_member_absent', 'node')} >= 0.5)"
    spare = f"{live('floe_live_answering_shards')} - scalar({decided('floe_network_line_shards', extra=LINE['decide'])})"
    return "Is the network safe?", [
        stat(
            "Are blobs lost or unavailable?",
            "Good looks like two zeros. Lost: fewer shards hold the blob than a read needs. Unavailable: holders exist "
            "but did not answer; they may return. Runbooks: FloeBlobsLost, FloeBlobsUnavailable.",
            [
                target(decided("floe_network_blobs", extra='verdict="unavailable"'), "unavailable"),
                target(decided("floe_network_blobs", extra='verdict="lost"'), "lost"),
            ],
            thresholds=steps((GREEN, None), (RED, 1)), text="value_and_name",
        ),
        stat(
            "How many nodes may the thinnest blob lose?",
            "Good looks like 3 or more: so many of the largest members may go and every blob is still readable. "
            "Empty while no blob is defended. Runbook: FloeMarginLow.",
            [target(when_defended(decided("floe_network_margin_min_nodes")), "nodes")],
            thresholds=steps((RED, None), (YELLOW, 2), (GREEN, 3)), noValue="no blobs",
        ),
        stat(
            "How many seats answer beyond quorum?",
            "Good looks like more than the largest member holds, so that any one may go. Below 0 nothing is decided. "
            "Runbooks: FloeNoQuorum, FloeQuorumThin.",
            [target(spare, "spare seats")],
            thresholds=steps((RED, None), (YELLOW, 0), (GREEN, 1)),
        ),
        stat(
            "Which members are missing now?",
            "Good looks like none. A member is missing when half of the others get no answer from it. One missing "
            "member is normal and costs nothing. Runbook: FloeMembersAbsent.",
            [target(missing, "{{node}}")],
            thresholds=steps((ORANGE, None)), text="name", noValue="none",
        ),
        stat(
            "How old are the verdicts?",
            "Good looks like less than one epoch. Older: boundaries come late or nothing can be decided. "
            "Runbook: FloeEpochOverdue.",
            [target(f"time() - ({decided('floe_network_decided_timestamp_seconds')} > 0)", "age")],
            unit="s", thresholds=steps((BLUE, None)), noValue="none decided",
        ),
        stat(
            "When does the epoch end?",
            "Good looks like a time in the future. Times are about: an epoch stretches while there is no quorum.",
            [target(f"{decided('floe_network_epoch_end_expected_timestamp_seconds')} * 1000", "end")],
            unit="dateTimeFromNow", thresholds=steps((BLUE, None)),
        ),
        graph(
            "How have the verdicts moved?",
            "Good looks like green (intact) with some blue (tolerated: some fragments are absent, on purpose nothing "
            "is done). Forgotten blobs are those whose paid term has ended.",
            [target(decided("floe_network_blobs", "verdict"), "{{verdict}}")],
            stack=True, step=True, overrides=coloured(VERDICT_COLOURS),
        ),
        graph(
            "How many bytes stand under each verdict?",
            "Good looks like the graph beside it, in bytes of blobs before coding.",
            [target(decided("floe_network_blob_bytes", "verdict"), "{{verdict}}")],
            unit="bytes", stack=True, step=True, overrides=coloured(VERDICT_COLOURS),
        ),
        graph(
            "Do nodes disagree?",
            "Good looks like 0 at all times. Anything else: two nodes at the same epoch show different decisions, "
            "which must never happen. Runbook: FloeVerdictsDisagree.",
            [
                target(disagreeing("floe_network_blobs", "verdict"), "blobs"),
                target(disagreeing("floe_network_blob_bytes", "verdict"), "bytes"),
                target(disagreeing("floe_network_members", "state"), "members"),
            ],
            step=True,
        ),
    ]


LINE = {name: f'line="{name}"' for name in ("read", "decide", "repair", "total")}


def ruler_row():
    line_of = lambda name: decided("floe_network_line_shards", extra=LINE[name])
    answering = live("floe_live_answering_shards")
    took_part = decided("floe_network_shards", extra='state="answered"')
    return "The ruler", [
        bars(
            "Where do the shards stand on the ruler?",
            "Good looks like the first two bars as long as the last. The network decides while the first reaches "
            "decide; a blob held by everyone can be read while it reaches read. At the line of repair the thinnest blobs "
            "would be rebuilt; without one, nothing above read would start it.",
            [
                target(answering, "answer now", instant=True),
                target(took_part, "took part in the last decision", instant=True),
                target(line_of("read"), "read", instant=True),
                target(line_of("decide"), "decide", instant=True),
                target(line_of("repair"), "repair of the thinnest", instant=True),
                target(line_of("total"), "total", instant=True),
            ],
            min=0, thresholds=steps((BLUE, None)),
            overrides=coloured({"read": RED, "decide": ORANGE, "repair of the thinnest": BLUE, "total": GREY}),
        ),
        graph(
            "How far are the answering shards from the lines?",
            "Good looks like both solid lines at total. Without the largest is what is left when the largest "
            "answering member goes too: below decide, one more outage stops decisions.",
            [
                target(answering, "answer now"),
                target(f"{answering} - {live('floe_live_largest_member_shards')}", "without the largest"),
                target(line_of("read"), "read"),
                target(line_of("decide"), "decide"),
                target(line_of("total"), "total"),
            ],
            step=True,
            overrides=line(["read"], RED) + line(["decide"], ORANGE) + line(["total"], GREY),
        ),
        graph(
            "How much may still go before a blob cannot be read?",
            "Good looks like a level that falls when members leave and rises when they return. Counted for the "
            "thinnest defended blob; empty while none is defended.",
            [
                target(when_defended(decided("floe_network_margin_min_shards")), "shards"),
                target(when_defended(decided("floe_network_margin_min_nodes")), "largest nodes"),
                target(when_defended(decided("floe_network_margin_min_domains")), "largest failure domains"),
            ],
            step=True,
        ),
    ]


def members_row():
    states = [
        {
            "type": "value",
            "options": {
                "0": {"color": GREEN, "index": 0, "text": "answers"},
                "1": {"color": RED, "index": 1, "text": "absent"},
            },
        }
    ]
    return "Members", [
        timeline(
            "Which members were missing, and when?",
            "Good looks like green from edge to edge. Red at the same time in several rows: they share a cause. "
            "A member is absent when half of the others get no answer from it.",
            [target(f"{live('floe_live_member_absent', 'node')} >= bool 0.5", "{{node}}")],
            states,
        ),
        table(
            "Which node is at which address?",
            "Good looks like one row for each node you scrape, all of one version. Nodes of other operators are "
            "members, but are not listed here.",
            [
                target(f"max by (instance, node) ({pick('floe_node_info')})", instant=True, table=True),
                target(f"max by (instance, version) ({pick('floe_build_info')})", instant=True, table=True),
            ],
            hidden=["Time", "Value", "Value #A", "Value #B"],
            names={"instance": "address", "node": "node", "version": "version"},
        ),
        graph(
            "How many members took part in each epoch?",
            "Good looks like all in answered. This is decided, once an epoch; the timeline above is seen, now.",
            [target(decided("floe_network_members", "state"), "{{state}}")],
            width=12, step=True, overrides=coloured({"answered": GREEN, "absent": RED}),
        ),
        graph(
            "How many shards took part in each epoch?",
            "Good looks like all in answered, at least those at the decide line.",
            [
                target(decided("floe_network_shards", "state"), "{{state}}"),
                target(decided("floe_network_line_shards", extra=LINE["decide"]), "decide"),
            ],
            width=12, step=True,
            overrides=coloured({"answered": GREEN, "absent": RED}) + line(["decide"], ORANGE),
        ),
    ]


def decisions_row():
    start = decided("floe_network_epoch_start_timestamp_seconds")
    end = decided("floe_network_epoch_end_expected_timestamp_seconds")
    blocks = "floe_consensus_block_interval_seconds"
    return "Epochs and decisions", [
        graph(
            "Are epochs on time?",
            "Good looks like overdue at 0. It grows while the boundary waits for quorum. The length is what an epoch "
            "should last. Runbook: FloeEpochOverdue.",
            [target(f"clamp_min(time() - {end}, 0)", "overdue"), target(f"{end} - {start}", "length")],
            unit="s", overrides=line(["length"]),
        ),
        graph(
            "Are all nodes in the same epoch?",
            "Good looks like one line: the two differ for a moment at a boundary and while a node catches up.",
            [
                target(decided("floe_network_epoch"), "foremost"),
                target(f"min ({pick('floe_network_epoch')})", "hindmost"),
            ],
            step=True, min=None,
        ),
        graph(
            "Are all nodes at the same height?",
            "Good looks like one line. A node below the others is catching up or stuck. Runbook: FloeNodeBehind.",
            [target(f"max by (instance) ({pick('floe_consensus_height')})", "{{instance}}")],
            step=True, min=None,
        ),
        graph(
            "How many decisions are made?",
            "Good looks like a few blocks an epoch when idle and more under load: an idle network is quiet.",
            [target(f"max ({rate(blocks + '_count')})", "blocks a second")],
            unit="ops",
        ),
        graph(
            "How long between two decisions?",
            "Good looks like less than an epoch. Only the busy network says how fast consensus is.",
            [target(percentile(0.5, blocks), "median"), target(percentile(0.99, blocks), "99 %")],
            unit="s",
        ),
        graph(
            "How many rounds does a decision take?",
            "Good looks like 1. More: a proposer was silent or late and the next one took over.",
            [target(f"sum ({rate('floe_consensus_rounds_total')}) / sum ({rate(blocks + '_count')})", "rounds")],
        ),
        graph(
            "Are transactions decided as they come?",
            "Good looks like a waiting line that returns to 0.",
            [
                target(f"max ({rate('floe_consensus_block_transactions_total')})", "decided a second"),
                target(f"max ({pick('floe_consensus_waiting_transactions')})", "waiting (fullest node)"),
            ],
        ),
        graph(
            "Has a member signed two things for one step?",
            "Good looks like 0 for ever. Each node counts what it saw since it started.",
            [target(f"max by (instance) ({pick('floe_consensus_equivocations_total')})", "{{instance}}")],
            step=True,
        ),
    ]


def wal_row():
    whole = f"sum by (instance) ({pick('floe_network_wal')})"
    return "WAL", [
        graph(
            "Where is all WAL?",
            "Good looks like a flat top edge with bands that move below it. Fund: paid for epochs to come. Pending: "
            "paid, certificate not there yet.",
            [target(decided("floe_network_wal", "bucket"), "{{bucket}}")],
            unit="suffix: WAL", stack=True, step=True,
        ),
        graph(
            "Is WAL conserved?",
            "Good looks like one flat line: WAL moves, its sum never changes, and every node counts the same. "
            "Runbook: FloeSupplyBroken.",
            [target(f"max ({whole})", "largest sum"), target(f"min ({whole})", "smallest sum")],
            unit="suffix: WAL", step=True, min=None,
        ),
        graph(
            "What do nodes earn in an hour, and what for?",
            "Good looks like storage above all. Repair: fragments that were rebuilt for others, out of the reserve.",
            [target(f"sum by (reason) ({rate('floe_node_earned_wal_total')}) * 3600", "{{reason}}")],
            unit="suffix: WAL",
        ),
        graph(
            "Who owes the repair reserve?",
            "Good looks like 0. Above it: others filled gaps of this node; what it earns pays for that first.",
            [target(f"max by (instance) ({pick('floe_node_debt_wal')})", "{{instance}}")],
            unit="suffix: WAL", step=True,
        ),
        graph(
            "What do the nodes' own accounts hold?",
            "Good looks like a slope that does not reach 0 in the next days. An empty account cannot pay for stores. "
            "Runbook: FloeAccountLow.",
            [target(f"max by (instance) ({pick('floe_account_frost')}) / 1e9", "{{instance}}")],
            unit="suffix: WAL",
        ),
    ]


def store_panels():
    disk = lambda name: f"sum by (instance) ({pick('floe_store_bytes', CLASS[name])})"
    property_of = lambda name: pick("floe_rocksdb_property", f'property="{name}"')
    return [
        graph(
            "How much of the disk may still be used?",
            "Good looks like more than 10 %. The reserve is not counted as free: it is kept for votes and metadata, "
            "and stores are refused below it. Runbook: FloeDiskNearlyFull.",
            [target(f"({disk('free')} - {disk('reserved')}) / {disk('cap')}", "{{instance}}")],
            unit="percentunit", max=1,
        ),
        graph(
            "What is the disk used for?",
            "Good looks like live and ledger growing slower than free shrinks to 0. Summed over the chosen nodes; "
            "nodes that share a disk each count its free space.",
            [target(f"sum by (class) ({pick('floe_store_bytes', CLASS['own'])})", "{{class}}")],
            unit="bytes", step=True,
        ),
        graph(
            "How many fragments are kept?",
            "Good looks like growth with stores and a drop when terms end.",
            [target(f"sum by (instance) ({pick('floe_store_fragments')})", "{{instance}}")],
            step=True,
        ),
        stat(
            "Are confirmed fragments gone?",
            "Good looks like 0: at its last start the node found everything it had confirmed. "
            "Runbook: FloeConfirmationsBroken.",
            [target(f"sum ({pick('floe_store_broken_confirmations')})", "broken confirmations")],
            thresholds=steps((GREEN, None), (RED, 1)),
        ),
        stat(
            "Has the database stopped?",
            "Good looks like 0 and 0. Runbook: FloeStoreStopped.",
            [
                target(f"sum ({property_of('writes_stopped')})", "writes stopped"),
                target(f"sum ({property_of('background_errors')})", "background errors"),
            ],
            thresholds=steps((GREEN, None), (RED, 1)), text="value_and_name",
        ),
        graph(
            "Does the database keep up?",
            "Good looks like pending compaction that returns to 0 and garbage below the blob files' size.",
            [
                target(f"sum ({property_of('pending_compaction_bytes')})", "pending compaction"),
                target(f"sum ({property_of('blob_garbage_bytes')})", "garbage in blob files"),
                target(f"sum ({property_of('buffer_bytes')})", "buffers"),
                target(f"sum ({property_of('cache_bytes')})", "cache"),
            ],
            unit="bytes", width=16, height=4,
        ),
    ]


CLASS = {name: f'class="{name}"' for name in ("free", "reserved", "cap")} | {"own": 'class=~"live|ledger|reserved|free"'}
TROUBLE = 'kind=~".*(dropped|refused|rejected|failed|banned|bad_).*"'
VOLUME = 'kind=~".*_bytes_(in|out)"'


def traffic_panels():
    return [
        graph(
            "Is this node connected to the members?",
            "Good looks like all other members connected. Other peers are clients of the network or newcomers.",
            [target(f"sum by (instance, role) ({pick('floe_peers')})", "{{instance}} {{role}}")],
            step=True,
        ),
        graph(
            "What does the network layer send and receive?",
            "Good looks like consensus and gossip in kilobytes; fragments carry the bulk.",
            [target(f"sum by (kind) ({rate('floe_transport_events', VOLUME)})", "{{kind}}")],
            unit="Bps",
        ),
        graph(
            "What does the network layer refuse or drop?",
            "Good looks like nothing but failed dials to members that are down.",
            [target(f"sum by (kind) ({rate('floe_transport_events', TROUBLE)})", "{{kind}}")],
            unit="ops",
        ),
        graph(
            "What becomes of fragments offered and asked for?",
            "Good looks like stored and served; busy means that the node asks the sender to wait.",
            [
                target(f"sum by (outcome) ({rate('floe_fragments_received_total')})", "offered: {{outcome}}"),
                target(f"sum by (outcome) ({rate('floe_fragments_served_total')})", "asked for: {{outcome}}"),
            ],
            unit="ops",
        ),
        graph(
            "How many bytes of fragments move?",
            "Good looks like a little over four times the stored bytes in, and about the read bytes out.",
            [target(f"sum by (direction) ({rate('floe_fragment_bytes_total')})", "{{direction}}")],
            unit="Bps",
        ),
        graph(
            "Do the others show what they hold?",
            "Good looks like passed, and nothing else. Silent: a member is away. Missed: it has not what it attested.",
            [
                target(f"sum by (outcome) ({rate('floe_challenges_sent_total')})", "asked: {{outcome}}"),
                target(f"sum ({rate('floe_challenges_received_total')})", "were asked"),
            ],
            unit="ops",
        ),
        graph(
            "What does this network rebuild?",
            "Good looks like 0, but for a while after a boundary that decided to. Fetched whole is cheaper than rebuilt.",
            [
                target(f"sum by (outcome) ({rate('floe_repair_fragments_total')})", "{{outcome}}"),
                target(f"sum ({pick('floe_repair_left_fragments')})", "left to do"),
            ],
        ),
        graph(
            "How many bytes does rebuilding move?",
            "Good looks like a little more than the bytes of the fragments that were lost.",
            [target(f"sum by (instance) ({rate('floe_repair_bytes_total')})", "{{instance}}")],
            unit="Bps",
        ),
        graph(
            "Does what is stored stay whole?",
            "Good looks like 0. Damaged fragments are removed, withdrawn and rebuilt; more than one disk error is a disk to "
            "replace. Runbook: FloeFragmentsCorrupt.",
            [target(f"sum by (instance) ({rate('floe_store_corrupt_fragments_total')})", "{{instance}} damaged")],
            unit="ops",
        ),
        graph(
            "When was the store last read through?",
            "Good looks like less than a week ago.",
            [
                target(
                    f"time() - ({pick('floe_store_scrub_last_completed_timestamp_seconds')} > 0)",
                    "{{instance}}",
                ),
            ],
            unit="s",
        ),
        graph(
            "Do shards that came to this node fill?",
            "Good looks like a peak after a change of committee that falls to 0 before the hand-over's deadline. A level "
            "above 0: what nobody handed over waits for repair.",
            [
                target(f"sum by (instance) ({pick('floe_handover_left_fragments')})", "{{instance}} missing"),
            ],
            step=True,
        ),
        graph(
            "How fast are shards handed over?",
            "Good looks like 0 but for a while after a change of committee.",
            [target(f"sum by (instance) ({rate('floe_handover_bytes_total')})", "{{instance}}")],
            unit="Bps",
        ),
        graph(
            "How many bytes do clients store and read?",
            "Good looks like your traffic.",
            [target(f"sum by (direction) ({rate('floe_gateway_bytes_total')})", "{{direction}}")],
            unit="Bps",
        ),
        graph(
            "How do stores and reads end?",
            "Good looks like certified and complete. Abandoned: the client went away.",
            [
                target(f"sum by (outcome) ({rate('floe_gateway_stores_total')})", "store: {{outcome}}"),
                target(f"sum by (outcome) ({rate('floe_gateway_reads_total')})", "read: {{outcome}}"),
            ],
            unit="ops",
        ),
        graph(
            "How long do stores and reads take?",
            "Good looks like well below a second for the first byte of a read. Stores grow with the blob. "
            "Runbook: FloeGatewaySlow.",
            [
                target(percentile(0.5, "floe_gateway_store_duration_seconds"), "store, median"),
                target(percentile(0.99, "floe_gateway_store_duration_seconds"), "store, 99 %"),
                target(percentile(0.5, "floe_gateway_read_first_byte_seconds"), "first byte, median"),
                target(percentile(0.99, "floe_gateway_read_first_byte_seconds"), "first byte, 99 %"),
            ],
            unit="s",
        ),
    ]


def process_panels():
    return [
        graph(
            "What does HTTP answer?",
            "Good looks like 2xx. 503 on /readyz and /healthz is a probe being told the truth. Runbook: FloeGatewayErrors.",
            [target(f"sum by (route, code) ({rate('floe_http_requests_total')})", "{{code}} {{route}}")],
            unit="reqps",
        ),
        graph(
            "How long does HTTP take?",
            "Good looks like milliseconds for everything that carries no blob. Until the head of the answer, 99 %.",
            [target(percentile(0.99, "floe_http_request_duration_seconds", "route"), "{{route}}")],
            unit="s",
        ),
        graph(
            "How many cores does the process use?",
            "Good looks like less than the machine has. Coding is what costs; an idle node uses next to nothing.",
            [target(rate("process_cpu_seconds_total"), "{{instance}}")],
            unit="short",
        ),
        graph(
            "How much memory does the process hold?",
            "Good looks like a level. It does not grow with the size of blobs.",
            [target(pick("process_resident_memory_bytes"), "{{instance}}")],
            unit="bytes",
        ),
        graph(
            "How near are the limits of files and threads?",
            "Good looks like far below 1 for files and a level for threads.",
            [
                target(f"max ({pick('process_open_fds')} / {pick('process_max_fds')})", "share of files (fullest node)"),
                target(f"max ({pick('process_threads')}) / 1000", "thousand threads (most)"),
            ],
            unit="short",
        ),
        graph(
            "When did the process start?",
            "Good looks like lines that climb. A drop to 0 is a restart.",
            [target(f"time() - {pick('process_start_time_seconds')}", "{{instance}}")],
            unit="s",
        ),
    ]


def rows():
    own = "This node", store_panels() + traffic_panels() + process_panels()
    return [blobs_row(), ruler_row(), members_row(), decisions_row(), wal_row(), own]


# The page.


def laid_out():
    """Panels from left to right; a new line begins where one does not fit."""
    placed, top = [], 0

    def number(entry, x, y, width, height):
        entry["id"] = len(placed) + 1
        entry["gridPos"] = {"h": height, "w": width, "x": x, "y": y}
        placed.append(entry)

    for title, panels in rows():
        number({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, top, COLUMNS, 1)
        top, left, tallest = top + 1, 0, 0
        for entry in panels:
            width, height = entry.pop("size")
            if left + width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number(entry, left, top, width, height)
            left, tallest = left + width, max(tallest, height)
        top += tallest
    return placed


def variable(name, label, query, help_text, several=True):
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": help_text,
        "datasource": SOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": several,
        "multi": several,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if several else {},
        "options": [],
        "regex": "",
        "skipUrlSync": False,
    } | ({"allValue": ".*"} if several else {})


def variables():
    return [
        {
            "type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
            "description": "The Prometheus that scrapes the nodes.", "current": {}, "hide": 0, "includeAll": False,
            "multi": False, "options": [], "refresh": 1, "regex": "", "skipUrlSync": False,
        },
        variable("job", "Job", "label_values(floe_build_info, job)", "The scrape job."),
        variable(
            "network", "Network", 'label_values(floe_build_info{job=~"$job"}, network)',
            "One network; set as a label of the scrape targets.", several=False,
        ),
        variable(
            "instance", "Node", 'label_values(floe_build_info{job=~"$job",network=~"$network"}, instance)',
            "All, or the nodes to look at. Decided numbers are the same whichever you choose.",
        ),
    ]


def annotation(name, colour, expression, title, shown):
    return {
        "name": name, "datasource": SOURCE, "enable": shown, "hide": False, "iconColor": colour,
        "expr": expression, "step": "15s", "titleFormat": title, "textFormat": "", "tagKeys": "",
        "useValueForTime": True,
    }


def annotations():
    begun = decided("floe_network_epoch_start_timestamp_seconds")
    restarts = f"max by (instance) ({pick('process_start_time_seconds')}) * 1000"
    return [
        {
            "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
        },
        annotation("Epoch boundaries", BLUE, f"{begun} * 1000", "epoch boundary", False),
        annotation("Restarts", ORANGE, restarts, "{{instance}} started", True),
    ]


def dashboard():
    return {
        "uid": "floe-network",
        "title": "Floe: network",
        "description": "Is the network safe, are blobs safe, is this node well? Written by dashboards/generate.py.",
        "tags": ["floe"],
        "schemaVersion": 39,
        "version": 1,
        "id": None,
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "weekStart": "",
        "links": [],
        "annotations": {"list": annotations()},
        "templating": {"list": variables()},
        "panels": laid_out(),
    }


def main():
    text = json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text() != text:
            sys.exit(f"{TARGET.name} is not what generate.py writes: run dashboards/generate.py")
        print(f"{TARGET.name} is what generate.py writes")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        TARGET.write_text(text)
        print(f"wrote {TARGET}")


main()
