"""Values and tables as HTML: every value is text, whatever a model wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

UNKNOWN_PRICE = "not known"
_LONGEST = 2000
_CENT = 0.01


def text(value: Any) -> str:
    """Return a value as text that is no markup, cut to a length."""
    told = str(value)
    more = len(told) - _LONGEST
    return escape(told if more <= 0 else f"{told[:_LONGEST]} ... ({more} characters more)")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> str:
    """Return a table, named by `caption` for those who hear it; the columns in `numbers` stand to the right.

    Every cell is shown as text, but for a `Fold`.
    """
    kinds = ["n" if name in numbers else "" for name in heads]
    titles = zip(heads, kinds, strict=True)
    head = "".join(f'<th scope="col"{_class(kind)}>{escape(name)}</th>' for name, kind in titles)
    body = "".join(
        f"<tr>{''.join(f'<td{_class(kind)}>{_cell(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for row in rows
    )
    told = escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{told}"><table aria-label="{told}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


class Fold(str):
    """A cell that opens: markup whose parts were escaped when it was made."""

    __slots__ = ()

    @classmethod
    def of(cls, summary: str, whole: str) -> Fold:
        """Return a cell that shows `summary`, and `whole` when it is opened or printed."""
        return cls(f"<details><summary>{text(summary)}</summary>{text(whole)}</details>")


def lines(value: Any) -> str:
    """Return a value as people read it: the fields of an object one to a line, a list item by item."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_within(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "\n".join(f"- {_within(one)}" for one in value)
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def percent(share: float | None) -> str:
    """Return a share as a percentage."""
    return "-" if share is None else f"{100 * share:.1f} %"


def money(usd: float, unpriced: int = 0, calls: int = 0) -> str:
    """Return US dollars, and how many of the calls have no known price."""
    if unpriced and unpriced == calls:
        return UNKNOWN_PRICE
    told = f"${usd:.6f}" if 0 < usd < _CENT else f"${usd:,.4f}"
    return f"{told} and {unpriced:,} calls of no known price" if unpriced else told


def _within(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "".join(f"\n  - {one}" for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(cell: str) -> str:
    return str(cell) if isinstance(cell, Fold) else text(cell)


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
