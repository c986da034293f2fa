"""Roles of callers, and which of them a request needs."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["invoke", "feedback", "manage", "audit"]
"""`invoke` asks for outputs, `feedback` says how good one was, `manage` changes what is served, `audit` reads records.

None holds another: a key for a dashboard's reader cannot spend money, one for a pipeline's deployments cannot read what
users asked.
"""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_ROLE_OF: Final[dict[str, Role | None]] = {
    "": "invoke",
    "stream": "invoke",
    "batch": "invoke",
    "chat": "invoke",
    "completions": "invoke",
    "models": "invoke",
    "v1": "invoke",
    "feedback": "feedback",
    "audit": "audit",
    "docs": None,
    "openapi.json": None,
    "healthz": None,
}


def needed_role(method: str, path: str) -> Role | None:
    """Return the role that a request to a path below an endpoint needs; None where any caller that is known will do.

    What is not listed is a matter of management: a path that somebody adds is closed until it is listed.
    """
    known = _ROLE_OF.get(path.strip("/").partition("/")[0], "manage")
    return "manage" if method in ("PUT", "PATCH", "DELETE") else known
