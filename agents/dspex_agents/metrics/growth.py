"""What agents did since the last look, although the counters of each begin at 0 with every incarnation."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.agent import AgentStatus, TreeNode

_REMEMBERED_ROUNDS = 20  # an agent may be missing from the tree for a moment, while a supervisor is rebuilt


@dataclass(frozen=True, slots=True)
class Gain:
    """What one agent did since the last look; `kind` is its class, nothing as long as it is not known."""

    kind: str
    restarts: int
    handled: int = 0
    failed: int = 0
    rejected: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """An agent at its last look: figures of its latest incarnation that told any, and the round."""

    round: int
    restarts: int = 0
    status: AgentStatus | None = None


class Growth:
    """Remembers each agent's last figures. What an incarnation did after the last look at it stays unknown."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._round = 0

    def begin(self) -> None:
        """Begin a round in which every agent is looked at once; forget those that have been away for long."""
        self._round += 1
        oldest = self._round - _REMEMBERED_ROUNDS
        self._seen = {name: seen for name, seen in self._seen.items() if seen.round > oldest}

    def of(self, node: TreeNode) -> Gain:
        """Return what an agent gained; of a supervisor, a silent agent or a late word of an earlier one, only restarts.

        Restarts are counted one level above: when that supervisor is rebuilt they begin at 0 again.
        """
        last = self._seen.get(node.id, _Seen(0))
        told, before = node.agent, last.status
        more = node.restarts - last.restarts if node.restarts >= last.restarts else node.restarts
        if told is None or (before is not None and told.epoch < before.epoch):
            self._seen[node.id] = _Seen(self._round, node.restarts, before)
            return Gain(before.kind if before else "", more)
        self._seen[node.id] = _Seen(self._round, node.restarts, told)
        if before is None or before.epoch < told.epoch:
            return Gain(told.kind, more, told.handled, told.failed, told.rejected, told.busy_s)
        return Gain(
            told.kind,
            more,
            max(0, told.handled - before.handled),
            max(0, told.failed - before.failed),
            max(0, told.rejected - before.rejected),
            max(0.0, told.busy_s - before.busy_s),
        )
