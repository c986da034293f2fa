"""From the tree of one system to values of metrics: sums by supervisor and class, never by agent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dspex_agents.agent import TreeNode
from dspex_agents.metrics.growth import Growth
from dspex_agents.metrics.table import LABELS, OTHER, SUPERVISOR_STATES

Values = dict[str, dict[tuple[str, ...], float]]
"""Metric name to label values, in the order of the table, to the value."""
_UNKNOWN = "unknown"


class LabelValues:
    """The values a label has had so far, at most `most`: one that is in stays, so that counters keep their place."""

    def __init__(self, most: int | None) -> None:
        self._most, self._known = most, set[str]()

    def fit(self, value: str) -> str:
        """Return the value, or `other` when it is one too many."""
        if value not in self._known:
            if self._most is not None and len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class SystemFigures:
    """Turns each look at a system's tree into values. Counters only grow, as seen by one instance of this."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._labels = {label.name: LabelValues(label.most) for label in LABELS}
        self._growth = Growth()
        self._counters: Values = defaultdict(lambda: defaultdict(float))

    def observe(self, tree: TreeNode) -> Values:
        """Return the value of every metric that the tree tells of."""
        self._growth.begin()
        gauges: Values = defaultdict(lambda: defaultdict(float))
        processes: dict[tuple[str, int], tuple[str, int]] = {}
        for supervisor, node in _walk(tree):
            if node.kind != "agent":
                self._supervisor(node, gauges)
                continue
            self._agent(supervisor, node, gauges)
            if node.pid:
                group = self._fit("host_group", host_group(node.host))
                gauges["dspex_host_agents"][self._system, group] += 1
                processes.setdefault((node.node, node.pid), (group, node.memory_bytes))
        for group, memory_bytes in processes.values():
            gauges["dspex_host_processes"][self._system, group] += 1
            gauges["dspex_host_memory_bytes"][self._system, group] += memory_bytes
        return {name: dict(values) for name, values in (gauges | self._counters).items()}

    def _supervisor(self, node: TreeNode, gauges: Values) -> None:
        supervisor = self._fit("supervisor", node.id)
        for state in SUPERVISOR_STATES:
            gauges["dspex_supervisor_state"][self._system, supervisor, state] += node.status == state
        self._counters["dspex_supervisor_restarts_total"][self._system, supervisor] += self._growth.of(node).restarts

    def _agent(self, supervisor: str, node: TreeNode, gauges: Values) -> None:
        gain, told = self._growth.of(node), node.agent
        group = (self._system, self._fit("supervisor", supervisor), self._fit("kind", gain.kind or _UNKNOWN))
        gauges["dspex_agents"][*group, self._fit("status", node.status)] += 1
        if told is not None:
            gauges["dspex_mailbox_messages"][group] += told.mailbox
            gauges["dspex_mailbox_capacity"][group] += told.mailbox_size
            gauges["dspex_messages_in_flight"][group] += told.in_flight
            oldest = gauges["dspex_oldest_message_age_seconds"]
            oldest[group] = max(oldest[group], told.oldest_s)
        messages = self._counters["dspex_messages_total"]
        messages[*group, "handled"] += gain.handled
        messages[*group, "failed"] += gain.failed
        messages[*group, "rejected"] += gain.rejected
        self._counters["dspex_busy_seconds_total"][group] += gain.busy_s
        self._counters["dspex_agent_restarts_total"][group] += gain.restarts

    def _fit(self, label: str, value: str) -> str:
        return self._labels[label].fit(value)


def host_group(host: str) -> str:
    """Return the group of a host named `group@number`; the processes of single agents are one group, `own`."""
    name = host.rsplit("@", 1)[0]
    return "own" if name.startswith("own:") else name


def _walk(tree: TreeNode) -> Iterator[tuple[str, TreeNode]]:
    """Yield each node with the id of the supervisor right above it."""
    waiting = [("", tree)]
    while waiting:
        above, node = waiting.pop()
        yield above, node
        waiting += ((node.id, child) for child in reversed(node.children))
