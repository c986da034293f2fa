"""What a search may be told beside its optimizer's name: settings and a teacher, checked before there are data.

Names and types of settings are checked by the registries of optimizers, values by the optimizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import UsageError
from dspex_ray.program_optimizers.registry import TAUGHT


def checked_settings(optimizer: str, given: object) -> dict[str, Any]:
    """Return the settings of a search, {} for none.

    Raises UsageError for what is no JSON object, since settings are kept with the run, or where `auto` chooses.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"settings is a mapping from names to values, such as {{'minibatch': 5}}, got {given!r}.")
    try:
        canonical_json(dict(given))
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings are kept with the run, so they are JSON values, got {given!r}: {error}.") from error
    if given and optimizer == "auto":
        raise UsageError(
            f"settings are those of one optimizer, and optimizer='auto' may choose any: name the optimizer that takes "
            f"{', '.join(given)}, or leave the settings out."
        )
    return dict(given)


def require_taught(optimizer: str) -> None:
    """Raise UsageError, which says which can, if an optimizer does not learn from a teacher."""
    if optimizer not in TAUGHT:
        raise UsageError(
            f"The optimizer {optimizer!r} learns from no teacher; {' and '.join(TAUGHT)} do. Name one of these as "
            "optimizer, or leave the teacher out."
        )
