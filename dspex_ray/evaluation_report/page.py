"""The report of an evaluation: one HTML file that loads nothing, runs only its own script, and shows values as text."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import TYPE_CHECKING, Any

from dspex_ray.evaluation_report.figures import Confusion, confusions, histogram, percentile
from dspex_ray.evaluation_report.table import example_rows
from dspex_ray.example import value_text

if TYPE_CHECKING:
    from dspex_ray.evaluation.result import Evaluation

_LONGEST_VALUE = 2000
_WIDEST_MATRIX = 20
_MISTAKES = 20
_BAR_WIDTH = 30

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid #8884;padding:.35rem .5rem;text-align:left;vertical-align:top}
thead th{position:sticky;top:0;background:Canvas}
th button{all:unset;cursor:pointer;font-weight:600}
th button:focus-visible{outline:2px solid}
td{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.figures{width:auto}.small{opacity:.75}
.scroll{overflow-x:auto}.diagonal{font-weight:600}.miss{background:#d332}
svg rect{fill:#4878b0}svg text{font-size:11px;fill:currentColor}
input,select{font:inherit;padding:.25rem;margin-right:.5rem}
"""

_SCRIPT = """
(() => {
  const body = document.querySelector('#rows tbody'), all = [...body.rows], shown = document.getElementById('shown');
  const text = document.getElementById('text'), kind = document.getElementById('kind');
  const filter = () => {
    const word = text.value.toLowerCase();
    let count = 0;
    for (const row of all) {
      const score = Number(row.dataset.score), failed = row.dataset.failed === '1';
      const fits = kind.value === 'all' || (kind.value === 'wrong' ? score < 1 : failed);
      row.hidden = !(fits && row.textContent.toLowerCase().includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = count + ' rows shown';
  };
  const key = (row, at) => row.cells[at].dataset.v ?? row.cells[at].textContent;
  document.querySelectorAll('#rows th button').forEach((button, at) => {
    let down = false;
    button.addEventListener('click', () => {
      const numeric = all.length > 0 && all[0].cells[at].dataset.v !== undefined;
      all.sort((a, b) => numeric ? key(a, at) - key(b, at) : key(a, at).localeCompare(key(b, at)));
      if (down) all.reverse();
      document.querySelectorAll('#rows th').forEach(head => head.removeAttribute('aria-sort'));
      button.parentElement.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      down = !down;
      for (const row of all) body.append(row);
    });
  });
  text.addEventListener('input', filter);
  kind.addEventListener('change', filter);
})();
"""


def page(evaluation: Evaluation, *, title: str, most_rows: int) -> str:
    """Return the page: figures, histogram, confusions, and the rows, worst first, at most `most_rows` of them."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _figures(evaluation),
        _histogram(evaluation),
        *(_confusion(one) for one in confusions(evaluation)),
        _rows(evaluation, most_rows),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _figures(evaluation: Evaluation) -> str:
    costs, latencies = [one.cost_usd for one in evaluation.scores], [one.latency_s for one in evaluation.scores]
    interval = f"95 % interval {_percent(evaluation.low)} to {_percent(evaluation.high)}"
    told = {
        "score": f"{_percent(evaluation.accuracy)} ({interval}, {evaluation.interval_method})",
        "program": evaluation.program,
        "metric": evaluation.metric,
        "data": f"{evaluation.source}, {evaluation.rows} rows, fingerprint {evaluation.fingerprint[:12]}",
        "rows with an error": str(evaluation.errors),
        "rows among the demonstrations": str(evaluation.leaked_rows) if evaluation.leaked_rows else "",
        "cost": _cost(evaluation, costs),
        "latency of a row": ", ".join(f"p{round(100 * s)} {percentile(latencies, s):.3f} s" for s in (0.5, 0.95, 0.99)),
        "wall time": f"{evaluation.wall_s:.1f} s",
        **{f"mean {name}": f"{value:.6g}" for name, value in evaluation.measures.items()},
    }
    lines = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in told.items() if v)
    return f'<table class="figures">{lines}</table>'


def _cost(evaluation: Evaluation, costs: list[float]) -> str:
    text = f"${evaluation.cost_usd:.6f} for {evaluation.calls} calls"
    text += f", ${evaluation.metric_cost_usd:.6f} of it by the metric" if evaluation.metric_cost_usd else ""
    text += f"; {evaluation.unpriced_calls} calls have no known price" if evaluation.unpriced_calls else ""
    return f"{text}; a row p50 ${percentile(costs, 0.5):.6f}, p95 ${percentile(costs, 0.95):.6f}"


def _histogram(evaluation: Evaluation) -> str:
    counts = histogram([one.score for one in evaluation.scores])
    most, height = max(counts), 120
    bars = "".join(_bar(i, count, height * count / most) for i, count in enumerate(counts) if count)
    ends = f'<text x="0" y="156">0</text><text x="{20 * _BAR_WIDTH}" y="156" text-anchor="end">1</text>'
    size = f'width="{20 * _BAR_WIDTH}" height="160"'
    return f'<h2>Scores</h2><svg role="img" aria-label="Histogram of the scores" {size}>{bars}{ends}</svg>'


def _bar(place: int, count: int, high: float) -> str:
    left, top = place * _BAR_WIDTH, 140 - high
    return (
        f'<rect x="{left + 1}" y="{top:.1f}" width="{_BAR_WIDTH - 2}" height="{high:.1f}">'
        f"<title>{place / 20:.2f} to {(place + 1) / 20:.2f}: {count} rows</title></rect>"
        f'<text x="{left + _BAR_WIDTH / 2:g}" y="{top - 5:.1f}" text-anchor="middle">{count}</text>'
    )


def _confusion(found: Confusion) -> str:
    title = f"<h2>Confusion of {escape(found.field)}</h2>"
    mistakes = found.mistakes(_MISTAKES)
    listed = "".join(f'<tr><td>{escape(e)}</td><td>{escape(g)}</td><td class="n">{n}</td></tr>' for e, g, n in mistakes)
    pairs = f"<table class='figures'><tr><th>expected</th><th>given</th><th>rows</th></tr>{listed}</table>"
    if len(found.labels) > _WIDEST_MATRIX:
        return f"{title}<p>The most frequent mistakes among {len(found.labels)} labels.</p>{pairs}"
    head = "".join(f"<th>{escape(label)}</th>" for label in found.labels)
    lines = "".join(
        f"<tr><th>{escape(e)}</th>{''.join(_count(found, e, g) for g in found.labels)}</tr>" for e in found.labels
    )
    matrix = (
        f'<div class="scroll"><table class="figures"><tr><th>expected \\ given</th>{head}</tr>{lines}</table></div>'
    )
    return f"{title}{matrix}" + (f"<p>The most frequent mistakes.</p>{pairs}" if mistakes else "")


def _count(found: Confusion, expected: str, given: str) -> str:
    count = found.counts[expected, given]
    kind = "diagonal" if expected == given else "miss" if count else ""
    return f'<td class="n {kind}">{count or ""}</td>'


def _rows(evaluation: Evaluation, most_rows: int) -> str:
    rows = sorted(example_rows(evaluation), key=lambda row: (row["score"], row["error"] is None, row["row"]))
    kept = rows[:most_rows]
    note = f"the {len(kept)} worst of {len(rows)} rows" if len(kept) < len(rows) else f"all {len(rows)} rows"
    heads = ("row", "score", "input", "expected", "output", "feedback", "error", "cost, $", "latency, s")
    head = "".join(f'<th><button type="button">{name}</button></th>' for name in heads)
    return (
        f"<h2>Rows</h2><p class='small'>Worst first: {note}.</p>"
        '<p><input id="text" type="search" placeholder="text in a row" aria-label="text in a row">'
        '<select id="kind" aria-label="which rows"><option value="all">all</option>'
        '<option value="wrong">score below 1</option><option value="failed">with an error</option></select>'
        f'<span id="shown">{len(kept)} rows shown</span></p>'
        f'<div class="scroll"><table id="rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row, kept))}</tbody></table></div>"
    )


def _row(row: dict[str, Any]) -> str:
    numbers = [(row["row"], f"{row['row']}"), (row["score"], f"{row['score']:.3f}")]
    texts = [_shown(row[name]) for name in ("input", "expected", "output")]
    texts += [_cut(row["feedback"] or "") if row["feedback"] != row["error"] else "", _cut(row["error"] or "")]
    tail = [(row["cost_usd"], f"{row['cost_usd']:.6f}"), (row["latency_s"], f"{row['latency_s']:.3f}")]
    return (
        f'<tr data-score="{row["score"]!r}" data-failed="{int(row["error"] is not None)}">'
        + "".join(_number(*one) for one in numbers)
        + "".join(f"<td>{escape(text)}</td>" for text in texts)
        + "".join(_number(*one) for one in tail)
        + "</tr>"
    )


def _number(value: float, text: str) -> str:
    return f'<td class="n" data-v="{value!r}">{text}</td>'


def _shown(values: Any) -> str:
    if not isinstance(values, dict):
        return "" if values is None else _cut(json.dumps(values, ensure_ascii=False))
    if len(values) == 1:
        return _cut(value_text(next(iter(values.values()))))
    return "\n".join(f"{name}: {_cut(value_text(value))}" for name, value in values.items())


def _cut(text: str) -> str:
    more = len(text) - _LONGEST_VALUE
    return text if more <= 0 else f"{text[:_LONGEST_VALUE]} ... ({more} characters more)"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
