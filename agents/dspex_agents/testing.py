"""For tests of one agent alone: a host without a system around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from dspex_agents.agent import AgentContext, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import UnknownAgentError
from dspex_agents.messaging.message import AskOptions, TellOptions
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.supervision.registry import Query, Registration

_T = TypeVar("_T")


class LoneHost:
    """Gives an agent a context. Each part is a plain function that the test passes in; without it there is nobody.

    `asked` and `told` keep what the agent sent: (to, body, options).
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        ask: Callable[..., Awaitable[Any]] | None = None,
        tree: Callable[[], Awaitable[TreeNode]] | None = None,
        find: Callable[[Query], Sequence[Registration]] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []
        self.told: list[tuple[str, Any, dict[str, Any]]] = []
        self.children: dict[str, tuple[str, ChildSpec]] = {}
        self.updates: list[tuple[str, int, Mapping[str, Any]]] = []
        self._ask, self._tree, self._find = ask, tree, find

    def context(self, name: str = "agent", epoch: int = 1) -> AgentContext:
        """Return a context of this host."""
        return AgentContext(name, epoch, self)

    async def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:  # noqa: ARG002 - the contract's
        """Note the message and answer with what the test's `ask(to, body, **options)` gives."""
        self.asked.append((to, body, dict(options)))
        if self._ask is None:
            raise UnknownAgentError.among(to, ())
        return await self._ask(to, body, **options)

    async def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> None:  # noqa: ARG002 - the contract's
        """Note the message."""
        self.told.append((to, body, dict(options)))

    async def tree(self) -> TreeNode:
        """Return the test's tree."""
        return TreeNode("top", "supervisor", "running") if self._tree is None else await self._tree()

    async def find(self, query: Query) -> tuple[Registration, ...]:
        """Return what the test's `find` gives."""
        return () if self._find is None else tuple(self._find(query))

    async def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> None:
        """Note the change."""
        self.updates.append((name, epoch, changes))

    async def start_children(self, supervisor: str, specs: Sequence[ChildSpec]) -> None:
        """Note the children; nothing is started."""
        self.children.update({spec.id: (supervisor, spec) for spec in specs})

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:  # noqa: ARG002 - the contract's
        """Forget the child."""
        return self.children.pop(name, None) is not None

    async def run_blocking(self, name: str, function: Callable[..., _T], *args: Any) -> _T:  # noqa: ARG002 - the contract's
        """Call the function here."""
        return function(*args)
