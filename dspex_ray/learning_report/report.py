"""`write_report`: the learning report of a run as a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dspex_agents.clock import SystemClock
from dspex_ray.evaluation_report.writing import require_place, write_text
from dspex_ray.example import Example
from dspex_ray.learning_report.learnt import learnt
from dspex_ray.learning_report.page import page
from dspex_ray.store import Store

_ENDINGS = (".html", ".htm")


def write_report(
    store: Store,
    run_id: str,
    path: str | os.PathLike[str],
    *,
    train: Sequence[Example] = (),
    validation: Sequence[Example] = (),
) -> Path:
    """Write the report of a run, also of one that goes on, as one HTML file that loads nothing, and return its path.

    The store holds no inputs: they are shown where `validation` gives them. Raises UsageError for an unknown run or a
    place that cannot be written.
    """
    place = require_place(path, _ENDINGS)
    found = learnt(store, run_id, train=train, validation=validation, now=SystemClock().now())
    write_text(place, page(found))
    return place
