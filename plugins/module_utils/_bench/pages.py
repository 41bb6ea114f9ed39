# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A benchmark's result as one HTML page with its plots in it: nothing is fetched, it opens without a network."""

from __future__ import annotations

import math
from html import escape

from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.judge import GATED
from ansible_collections.ascend_ops.vllm.plugins.module_utils._bench.text import (
    lengths,
    provenance_rows,
    rows,
    shown,
    sweep_lines,
)

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 220, 54, 34, 26, 12
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; } .facts td { text-align: left; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto; } svg { margin: 0 1em 1em 0; } svg text { font: 11px sans-serif; fill: #444; }
.pass { color: #1a7f37; } .fail { color: #c62828; }
"""


def ticks(low, high, wanted=4):
    """Round numbers from *low* to *high*."""
    span = high - low
    step = 10 ** math.floor(math.log10(span / wanted))
    for factor in (1, 2, 5, 10):
        if span / (step * factor) <= wanted:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(int(first), int(math.floor(high / step + 1e-9)) + 1)]


def chart(title, across, up, points, marks=(), dots=False):
    """An SVG of one line.

    :param across, up: what the axes show.
    :param points: ``[(x, y)]``; of None an y is left out.
    :param marks: ``[(label, value, "x" or "y")]``: lines across or upright to hold the points against.
    """
    points = [(x, y) for x, y in points if y is not None]
    if not points:
        return ""
    at = {"x": [x for x, unused in points], "y": [y for unused, y in points]}
    for _label, value, axis in marks:
        at[axis].append(value)
    low = {"x": min(0, *at["x"]), "y": 0}
    high = {axis: (max(at[axis]) or 1) * 1.04 for axis in "xy"}

    def place(x, y):
        across_px = LEFT + (WIDTH - LEFT - RIGHT) * (x - low["x"]) / float(high["x"] - low["x"])
        return across_px, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - low["y"]) / float(high["y"] - low["y"])

    def line(start, end, colour, dash=""):
        return '<line x1="{0:.1f}" y1="{1:.1f}" x2="{2:.1f}" y2="{3:.1f}" stroke="{4}"{5}/>'.format(
            start[0], start[1], end[0], end[1], colour, ' stroke-dasharray="5 3"' if dash else ""
        )

    def word(x, y, text, anchor):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(str(text))}</text>'

    parts = [word(LEFT, 14, title, "start")]
    for value in ticks(low["y"], high["y"]):
        x, y = place(low["x"], value)
        parts += [line((x, y), (WIDTH - RIGHT, y), "#e4e4e4"), word(x - 5, y + 4, shown(value), "end")]
    for value in ticks(low["x"], high["x"]):
        x, y = place(value, 0)
        parts += [line((x, y), (x, y + 4), "#888"), word(x, y + 16, shown(value), "middle")]
    parts += [word((LEFT + WIDTH) / 2, HEIGHT - 4, across, "middle"), word(WIDTH - RIGHT, 14, up, "end")]
    parts.append(line(place(low["x"], 0), (WIDTH - RIGHT, place(0, 0)[1]), "#888"))
    path = " ".join("{0:.1f},{1:.1f}".format(*place(x, y)) for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#1565c0" stroke-width="2"/>')
    if dots:
        parts += ['<circle cx="{0:.1f}" cy="{1:.1f}" r="3" fill="#1565c0"/>'.format(*place(x, y)) for x, y in points]
    for label, value, axis in marks:
        start, end = (
            (place(low["x"], value), place(high["x"], value))
            if axis == "y"
            else (place(value, 0), place(value, high["y"]))
        )
        parts.append(line(start, end, "#c62828", "dashed"))
        text = f"{label} {shown(value)}"
        parts.append(
            word(WIDTH - RIGHT - 2, start[1] - 4, text, "end")
            if axis == "y"
            else word(start[0] - 3, TOP + 10, text, "end")
        )
    return '<svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img">{2}</svg>'.format(
        WIDTH, HEIGHT, "".join(parts)
    )


def distribution(run, name):
    """The share of requests (of tokens, for ITL) that were no slower, over milliseconds.

    Up to 99 %: one straggler would press all others against the edge.
    """
    values = run["quantiles"][name][:100]
    published = run["published"].get(f"mean_{name}_ms")
    marks = [("published mean", published, "x")] if published else []
    return chart(name.upper(), "ms", "% no slower", list(zip(values, range(len(values)))), marks)


def throughput(run):
    """The measured output throughput beside the published and the least that is wanted."""
    gate = run["gate"]
    bars = [("measured", run["figures"][GATED]), ("published", gate["published"]), ("wanted", gate["wanted"])]
    bars = [(label, value) for label, value in bars if value]
    most = max([value for unused, value in bars] or [1])
    parts = ['<text x="8" y="14">output tokens/s</text>']
    for index, (label, value) in enumerate(bars):
        y = 30 + 44 * index
        parts.append(
            '<rect x="8" y="{0}" width="{1:.1f}" height="20" fill="{2}"/><text x="8" y="{3}">{4} {5}</text>'.format(
                y,
                (WIDTH - 20) * value / float(most),
                "#1565c0" if index == 0 else "#b0bec5",
                y + 33,
                label,
                shown(value),
            )
        )
    return '<svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img">{2}</svg>'.format(
        WIDTH, HEIGHT, "".join(parts)
    )


def page(result):
    """The whole page."""
    provenance = result["provenance"]
    title = "Benchmark of replica {0}, {1}".format(result["replica"], provenance["time"])
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>The published figures were not measured here: each scenario names its source.</p>",
    ]
    for run in result["runs"]:
        scenario, gate = run["scenario"], run["gate"]
        parts.append("<h2>{0}</h2><p>{1}.</p>".format(escape(scenario["name"]), escape(lengths(scenario))))
        parts.append(_table(["", "measured", "published", "of the published"], rows(run)))
        parts.append(
            '<p>Gate: <b class="{0}">{1}</b> {2}</p>'.format(
                gate["verdict"].replace(" ", "-"), gate["verdict"], escape("; ".join(gate["reasons"]))
            )
        )
        if run["look_at"]:
            parts.append("<ul>{0}</ul>".format("".join(f"<li>{escape(hint)}</li>" for hint in run["look_at"])))
        parts += [throughput(run)] + [distribution(run, name) for name in ("ttft", "tpot", "itl")]
        if scenario["source"]:
            source = escape(scenario["source"], quote=True)
            parts.append('<p>Published by <a href="{0}">{0}</a>. {1}</p>'.format(source, escape(scenario["note"])))
        parts.append("<pre>{0}</pre>".format(escape(run["command"])))
    for entry in result["skipped"]:
        parts.append("<h2>{0}</h2><p>Not run: {1}.</p>".format(escape(entry["name"]), escape(entry["reason"])))
    if result["sweep"]:
        parts.append(sweep_part(result["sweep"]))
    parts.append("<h2>What was measured</h2>" + _table(None, provenance_rows(provenance), "facts"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{0}</title><style>{1}</style></head>\n'
        "<body>\n{2}\n</body></html>\n".format(escape(title), STYLE, "\n".join(parts))
    )


def sweep_part(sweep):
    """The sweep's plots and table."""
    target, points = sweep["target"], sweep["points"]
    parts = ["<h2>Sweep of {0} over concurrency</h2>".format(escape(target["scenario"]))]
    wanted = [(GATED, "output tokens/s", None)]
    for name in ("ttft", "tpot"):
        key = "{0}_{1}_ms".format(target["statistic"], name)
        wanted.append((key, "{0} {1} ms".format(target["statistic"], name.upper()), target.get(name + "_ms")))
    for key, label, limit in wanted:
        marks = [("wanted", limit, "y")] if limit else []
        if sweep["best"]:
            marks.append(("best", sweep["best"], "x"))
        line = [(point["concurrency"], point["figures"].get(key)) for point in points]
        parts.append(chart(label, "requests at once", "", line, marks, dots=True))
    return "\n".join(parts + ["<pre>{0}</pre>".format(escape("\n".join(sweep_lines(sweep))))])


def _table(head, body, kind=""):
    lines = ["<tr>{0}</tr>".format("".join(f"<th>{escape(cell)}</th>" for cell in head))] if head else []
    lines += ["<tr>{0}</tr>".format("".join(f"<td>{escape(str(cell))}</td>" for cell in line)) for line in body]
    return '<table class="{0}">{1}</table>'.format(kind, "".join(lines))
