"""`dspex doctor`: what may keep this machine from working, and what to do about it."""

from __future__ import annotations

from rich.markup import escape

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.doctor import examine

_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


def doctor(
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Check Python, Ray, the HTTP proxy, the store, the model and the machine's limits."""
    findings = examine(store)
    failed = any(finding.verdict == "failure" for finding in findings)
    if json:
        print_json({"healthy": not failed, "checks": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            colour = _COLOURS[finding.verdict]
            out.print(f"[{colour}]{finding.verdict:>8}[/]  {escape(finding.check)}: {escape(finding.text)}")
    return 1 if failed else 0
