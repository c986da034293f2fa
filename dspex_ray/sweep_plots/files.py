"""A chart as a file: a PNG without a browser, or one page of HTML that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path

import vl_convert

from dspex_ray.sweep_plots.style import Drawn

_SCALE = 2.0  # pixels a unit of the chart: sharp on today's screens and in print
_EMBEDDING = {"mode": "vega-lite", "actions": {"export": True, "source": False, "compiled": False, "editor": False}}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 24px; }}</style>
<script>{library}</script>
</head>
<body>
<div id="chart" role="img" aria-label="{title}"></div>
<script>vegaEmbed("#chart", {spec}, {options}).catch(console.error);</script>
</body>
</html>
"""


def write(drawn: Drawn, path: Path, title: str) -> None:
    """Write the chart to a file that ends in .png or .html. Raises OSError if it cannot be written."""
    spec = drawn.chart.to_dict() | {"datasets": dict(drawn.rows)}
    if path.suffix.lower() == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
    else:
        path.write_text(page(spec, title), encoding="utf-8")


def page(spec: Mapping[str, object], title: str) -> str:
    """Return a page with the chart, its data and all of its script. Whatever the data say cannot end the script."""
    return _PAGE.format(
        title=html.escape(title),
        library=vl_convert.javascript_bundle(),  # type: ignore[call-arg]  # its stub lacks the default
        spec=_in_script(spec),
        options=_in_script(_EMBEDDING),
    )


def _in_script(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")
