"""`DemoPool`: the labelled examples a program may show to a model as demonstrations."""

from __future__ import annotations

import contextvars
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from dspex_ray.context_value import Within
from dspex_ray.errors import DataError, ProgramError
from dspex_ray.example import Example, as_text, make_example
from dspex_ray.problems import near, shown

if TYPE_CHECKING:
    from dspex_ray.lm.ngrams import NgramIndex

_CACHED_RANKINGS = 16_384
_RANKING_LENGTH = 32  # the nearest are ranked at least this far, so that another k asks the cache

_held_out: contextvars.ContextVar[str | None] = contextvars.ContextVar("dspex_held_out_example", default=None)


def held_out(example: Example) -> Within[None]:
    """Keep the example and its copies out of every selection within: a question must not hold its own answer."""
    return Within(_held_out, example.content_id, None)


def given_example(demo: Mapping[str, Any]) -> Example:
    """Return a demonstration that stands in a `Demos` value as an example; its id begins with that of its question."""
    made = make_example(demo["input"], demo["output"])
    return made if demo["of"] is None else Example(f"{demo['of']}-{made.id}", made.input, made.output)


class DemoPool:
    """Examples by id. The index for "nearest" is built on first use and left behind when the pool is pickled.

    Raises DataError if two examples have the same id.
    """

    def __init__(self, examples: Sequence[Example] = ()) -> None:
        self.examples = tuple(examples)
        self._by_id = {example.id: example for example in self.examples}
        repeated = [one for one, count in Counter(example.id for example in self.examples).items() if count > 1]
        if repeated:
            raise DataError(f"The demonstration pool holds the id {repeated[0]!r} more than once.")
        self._contents = Counter(example.content_id for example in self.examples)
        self._index: NgramIndex | None = None
        self._rankings: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = Lock()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the pool's order."""
        return tuple(example.id for example in self.examples)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The label of each example; None if any has none."""
        labels = tuple(example.label for example in self.examples if example.label is not None)
        return labels if len(labels) == len(self.examples) else None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, example_id: str) -> Example:
        """Return the example. Raises ProgramError, with the closest id, for an unknown one."""
        try:
            return self._by_id[example_id]
        except KeyError:
            close = near(str(example_id), self._by_id)
            msg = f"No example {example_id!r} in the demonstration pool of {len(self)} examples{close}."
            raise ProgramError(msg) from None

    def subset(self, ids: Sequence[str]) -> DemoPool:
        """Return a pool of these examples, in this order. Raises ProgramError for an unknown id."""
        return DemoPool([self[example_id] for example_id in ids])

    def select(self, value: Mapping[str, Any], values: Mapping[str, Any]) -> list[Example]:
        """Return the examples a `Demos` value picks for an input, in the order they are shown.

        `{"select": "fixed", "ids": [...]}` gives those, in that order; `{"select": "nearest", "k": n}` gives the n
        nearest to the input, the nearest last (closest to the question); `{"select": "given", "demos": [...]}` gives
        those that stand in it. An example under `held_out` is left out, and so is a demonstration `of` it.
        Raises ProgramError for an unknown id or another form of value.
        """
        out = _held_out.get()
        match value:
            case {"select": "fixed", "ids": [*ids]}:
                return [example for example in map(self.__getitem__, ids) if example.content_id != out]
            case {"select": "nearest", "k": int(k)} if k >= 0:
                ranked = self._ranked(self._query(values), k + self._contents[out or ""])
                near_ones = [e for e in (self.examples[i] for i in ranked) if e.content_id != out]
                return near_ones[:k][::-1]
            case {"select": "given", "demos": [*demos]}:
                return [given_example(demo) for demo in demos if out is None or demo["of"] != out]
        forms = '{"select": "fixed", "ids": [...]} or {"select": "nearest", "k": 8}'
        raise ProgramError(f"Demonstrations are chosen by {forms}, got {shown(value)}.")

    def _query(self, values: Mapping[str, Any]) -> str:
        # fields the data never had (defaults, tuned values) would push every example away alike
        known = {name for example in self.examples[:1] for name in example.input}
        return _compared({name: value for name, value in values.items() if name in known})

    def _ranked(self, text: str, count: int) -> list[int]:
        with self._lock:
            ranking = self._rankings.get(text)
            if ranking is not None and (len(ranking) >= count or len(ranking) == len(self)):
                self._rankings.move_to_end(text)
                return ranking[:count]
            if self._index is None:
                from dspex_ray.lm.ngrams import NgramIndex  # noqa: PLC0415 - numpy, only for "nearest"

                self._index = NgramIndex([_compared(example.input) for example in self.examples])
            ranking = self._index.nearest(text, max(count, _RANKING_LENGTH))
            self._rankings[text] = ranking
            if len(self._rankings) > _CACHED_RANKINGS:
                self._rankings.popitem(last=False)
            return ranking[:count]

    def to_json(self) -> dict[str, Any]:
        """Return the examples as JSON."""
        return {"examples": [example.to_json() for example in self.examples]}

    @staticmethod
    def from_json(data: Any) -> DemoPool:
        """Rebuild a pool from `to_json`. Raises DataError for what is no such JSON."""
        examples = data.get("examples") if isinstance(data, Mapping) else None
        if not isinstance(examples, list):
            raise DataError(f"A demonstration pool's JSON has a list of 'examples', got {shown(data)}.")
        return DemoPool([Example.from_json(example) for example in examples])

    def __reduce__(self) -> tuple[type[DemoPool], tuple[tuple[Example, ...]]]:
        """Pickle the examples alone: the index costs more to send than to build."""
        return DemoPool, (self.examples,)


def _compared(values: Mapping[str, Any]) -> str:
    """Return the text that nearness is measured on: without pictures given as data, whose letters mean nothing."""
    told = {name: one for name, one in values.items() if not (isinstance(one, str) and one.startswith("data:image/"))}
    return as_text(told)
