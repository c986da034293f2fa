"""`Resolver`: asks a root where agents live, many names in one call and no name twice at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dspex_agents.errors import AgentSystemError
from dspex_agents.runtime.port import Port, Route

MOST_IN_A_CALL = 1000

Question = tuple[str, int | None]
"""An agent's name, and the epoch of the incarnation that is known to be gone."""

Found = dict[Question, Route | AgentSystemError]


@dataclass(slots=True)
class _Batch:
    """Questions of one turn of the loop; `answer` holds where those are that could be found so far."""

    answer: asyncio.Task[Found] = field(init=False)
    questions: list[Question] = field(default_factory=list)
    timeout_s: float = 0.0


class Resolver:
    """Shares calls and answers among all who ask on one event loop."""

    def __init__(self, root: Port) -> None:
        self._root = root
        self._shared: dict[Question, asyncio.Task[Route]] = {}
        self._batch: _Batch | None = None

    async def resolve(self, to: str, timeout_s: float, gone_epoch: int | None) -> Route:
        """Return where an agent lives; see `SystemRoot.resolve`. Raises what that raises, or what the port does."""
        question = (to, gone_epoch)
        shared = self._shared.get(question)
        if shared is None:
            find = self._find(question, timeout_s)
            shared = self._shared[question] = asyncio.get_running_loop().create_task(find)
            shared.add_done_callback(lambda task: self._found(question, task))
        await asyncio.wait((shared,), timeout=timeout_s)  # it goes on for the others if this one is cancelled
        if not shared.done():
            raise TimeoutError
        return shared.result()

    def close(self) -> None:
        """Give up what is being asked."""
        for task in self._shared.values():
            task.cancel()
        if self._batch is not None:
            self._batch.answer.cancel()

    async def _find(self, question: Question, timeout_s: float) -> Route:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while (left := end - loop.time()) > 0:
            batch = self._batch
            if batch is None:
                batch = self._batch = _Batch()
                batch.answer = loop.create_task(self._ask(batch))
            batch.questions.append(question)
            batch.timeout_s = max(batch.timeout_s, left)
            if len(batch.questions) == MOST_IN_A_CALL:
                self._batch = None
            found = (await asyncio.shield(batch.answer)).get(question)
            if isinstance(found, AgentSystemError):
                raise found
            if found is not None:
                return found
        raise TimeoutError

    async def _ask(self, batch: _Batch) -> Found:
        await asyncio.sleep(0)  # all who ask in this turn of the loop go together
        if self._batch is batch:
            self._batch = None
        if len(batch.questions) == 1:
            (name, gone_epoch), timeout_s = batch.questions[0], batch.timeout_s
            route: Route = await self._root.call("resolve", name, timeout_s, gone_epoch, timeout_s=timeout_s)
            return {batch.questions[0]: route}
        asked = tuple(batch.questions)
        answers = await self._root.call("resolve_many", asked, batch.timeout_s, timeout_s=batch.timeout_s)
        return {question: found for question, found in zip(asked, answers, strict=True) if found is not None}

    def _found(self, question: Question, task: asyncio.Task[Route]) -> None:
        self._shared.pop(question, None)
        if not task.cancelled():
            task.exception()  # those who asked may have gone
