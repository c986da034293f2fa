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
    "feedback": "feedback",
    "audit": "audit",
    "docs": None,
    "openapi.json": None,
    "healthz": None,
}
_READS: Final = ("GET", "HEAD", "POST")


def needed_role(method: str, path: str) -> Role | None:
    """Return the role that a request to a path below an endpoint needs; None where any caller that is known will do.

    `/v1/...`, as clients of OpenAI ask, is what it is without `/v1`. What is not listed is a matter of management: a
    path that somebody adds is closed until it is listed, and so is what changes feedback or records.
    """
    steps = path.strip("/").split("/")
    if steps[0] == "v1" and len(steps) > 1:
        steps = steps[1:]
    known = _ROLE_OF.get(steps[0], "manage")
    return known if known == "invoke" or method in _READS else "manage"
