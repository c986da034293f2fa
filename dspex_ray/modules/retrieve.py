"""`Retrieve`: the passages of a corpus that fit a query, without a model call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dspex_coordination.variables import Variable
from dspex_ray.errors import InputError, ProgramError, UnknownNameError
from dspex_ray.modules.strategy import Strategy
from dspex_ray.modules.wrapper import whole_setting
from dspex_ray.problems import shown
from dspex_ray.programs.declaration import is_abstract
from dspex_ray.retrieval.base import Retriever
from dspex_ray.retrieval.bm25 import BM25
from dspex_ray.retrieval.corpus import corpus_label, read_corpus
from dspex_ray.retrieval.ngrams import NgramRetriever
from dspex_ray.schema import Schema, field

_INDEXES: dict[str, Any] = {"bm25": BM25, "ngrams": NgramRetriever}


class Query(Schema):
    """What is looked for; `k` overrides the program's."""

    query: str = field(min_length=1)
    k: int | None = field(None, ge=1)


class Retrieved(Schema):
    """What was found, the best first: the texts, their ids in the corpus and how well they fit."""

    passages: list[str]
    ids: list[str]
    scores: list[float]


class Retrieve(Strategy):
    """Find the `k` best passages: `Retrieve(["a text", ...], k=3)`, or a class with `corpus = [...]` in its body.

    A corpus is a list of texts, of `Passage`s or of mappings with `text`, `id` and metadata, which `index` looks
    through: `bm25` (by words) or `ngrams` (forgives misspellings). Or it is a `Retriever`; to be saved, one is given
    as a function of a module that makes it. `k` may be a variable. Fewer come back where fewer have anything in common
    with the query. `await program.corpus.search(query, k)` gives `Passage`s with their metadata.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"k", "index"})
    corpus: Any
    k: Any = 3
    index: Any = "bm25"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the index of the corpus."""
        own = vars(cls)
        if "corpus" in own:
            cls.corpus = _retriever(own["corpus"], cls.index, is_chosen="index" in own)
            cls.Input, cls.Output = own.get("Input", Query), own.get("Output", Retrieved)
        if not is_abstract(cls):
            cls._check_declared()
        super().__init_subclass__(**kwargs)

    @classmethod
    def _check_declared(cls) -> None:
        if not isinstance(getattr(cls, "corpus", None), Retriever):
            raise ProgramError(f"{cls.__name__} has no corpus; write in it: corpus = ['a text', ...]")
        if not issubclass(cls.Input, Query) or not issubclass(Retrieved, cls.Output):
            raise ProgramError(f"{cls.__name__} goes from a query to passages; leave Input and Output out.")
        whole_setting(cls, "k", 1)
        most = getattr(cls.k, "high", cls.k.default) if isinstance(cls.k, Variable) else cls.k
        if (size := cls.corpus.size) is not None and most > size:
            raise ProgramError(
                f"{cls.__name__}.k is up to {most}, but the corpus has {size} passage{'s' * (size > 1)}."
            )

    @classmethod
    def _wants(cls) -> str:
        return f"a corpus: {cls.__name__}(['a text', ...])"

    @classmethod
    def _body(cls, around: Any) -> tuple[str, dict[str, Any]]:
        if isinstance(around, Retriever):
            return type(around).__name__, {"corpus": around}
        if callable(around):
            return str(getattr(around, "__name__", type(around).__name__)), {"corpus": around}
        passages = read_corpus(around)
        return corpus_label(passages), {"corpus": passages}

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in {"columns", "constraints", *cls.settings}:
                raise ProgramError(str(UnknownNameError(f"setting of {cls.__name__}", name, {*cls.settings, "name"})))

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the passages."""
        k, size = self.k if input.k is None else input.k, self.corpus.size
        if size is not None and k > size:
            told = f"at most {size}, the size of the corpus, got {k}"
            raise InputError(f"{self.path}: k: {told}.", (("k", told),))
        found = await self.corpus.search(input.query, k)
        return Retrieved(
            passages=[one.text for one in found], ids=[one.id for one in found], scores=[one.score for one in found]
        )

    async def aclose(self) -> None:
        """Close the connections of the retriever, if it has any."""
        await super().aclose()
        close = getattr(self.corpus, "aclose", None)
        if close is not None:
            await close()


def _retriever(corpus: Any, index: Any, *, is_chosen: bool) -> Retriever:
    made = corpus() if callable(corpus) and not isinstance(corpus, Retriever) else corpus
    if isinstance(made, Retriever) and not isinstance(made, type):
        if is_chosen:
            raise ProgramError(
                f"index says how a list of texts is looked through, and {shown(made)} does so by itself."
            )
        return made
    if not isinstance(index, str) or index not in _INDEXES:
        raise ProgramError(str(UnknownNameError("index", str(index), _INDEXES)))
    found: Retriever = _INDEXES[index](made)
    return found
