"""Retrieve: the passages that fit a query, by figures reckoned by hand, without a model."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_models import run_on

import dspex_ray as dspex
from dspex_ray.errors import InputError, ProgramError
from dspex_ray.modules.retrieve import Retrieve
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.retrieval import BM25, NgramRetriever, Passage, Retriever
from dspex_ray.retrieval.base import best_passages

TEXTS = ["The cat sat on the mat.", "A dog barked at the moon.", "Cats and dogs are friends."]


class Planets:
    """A store of its own, closed by its own."""

    def __init__(self) -> None:
        self.closed = 0

    @property
    def size(self) -> int | None:
        return None

    async def search(self, query: str, k: int) -> list[Passage]:
        return [Passage(f"p{number}", f"{query} {number}", 1.0 / (number + 1)) for number in range(k)]

    async def aclose(self) -> None:
        self.closed += 1


def planets() -> Retriever:
    return Planets()


class Answered(dspex.Program):
    """Look it up, then answer."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    look = Retrieve(TEXTS, k=dspex.Int(1, 3, default=1))
    answer = dspex.Predict("context: list[str], question -> answer")

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        """Answer from what is found."""
        found = await self.look(query=input.question)
        answered = await self.answer(context=found.passages, question=input.question)
        return self.Output(answer=answered.answer)


class Docs(Retrieve):
    corpus = planets
    k = 2


def test_bm25_gives_the_figures_reckoned_by_hand() -> None:
    # lengths 3, 2, 1 with a mean of 2; ln(1 + 2.5 / 1.5) for a word of one passage, ln(1 + 1.5 / 2.5) for one of two
    index = BM25(["a b b", "a c", "d"], k1=1.2, b=0.75)
    one, two = math.log(2.5 / 1.5 + 1), math.log(1.6)
    assert index.scores("b") == pytest.approx([one * 2 / (2 + 1.65), 0, 0])
    assert index.scores("a") == pytest.approx([two / (1 + 1.65), two / (1 + 1.2), 0])
    assert index.scores("A, b!") == pytest.approx([0.7148005, 0.2136380, 0], abs=1e-6)
    assert index.scores("d d") == pytest.approx([0, 0, 2 * one / (1 + 0.75)])
    assert not index.scores("z").any()


def test_the_constants_say_how_much_length_and_repetition_count() -> None:
    assert BM25(["a b b", "a"], b=0.0).scores("a").tolist() == pytest.approx([math.log(1.2) / 2.2] * 2)
    assert BM25(["a a a", "a b c"], k1=0.0).scores("a").tolist() == pytest.approx([math.log(1.2)] * 2)
    for wrong in ({"k1": -1.0}, {"b": 1.5}, {"b": "much"}):
        with pytest.raises(ProgramError, match=f"BM25: {next(iter(wrong))} is a number"):
            BM25(["a"], **wrong)


passages = st.lists(st.text("ab c", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=8)


@given(passages, st.text("abc ", max_size=6), st.integers(1, 9))
def test_the_best_come_first_and_equals_in_the_order_of_the_corpus(texts: list[str], query: str, k: int) -> None:
    for index in (BM25(texts), NgramRetriever(texts)):
        found = asyncio.run(index.search(query, k))
        keys = [(-one.score, int(one.id)) for one in found]
        assert keys == sorted(keys)
        assert all(one.score > 0 for one in found)
        every = asyncio.run(index.search(query, len(texts)))
        assert found == every[:k]


def test_only_scores_above_nothing_count() -> None:
    corpus = [Passage(str(number), "x") for number in range(4)]
    assert [one.id for one in best_passages(corpus, np.array([0.0, 0.2, 0.5, 0.2]), 2)] == ["2", "1"]
    assert best_passages(corpus, np.zeros(4), 2) == []


def test_passages_are_found_with_ids_and_scores_and_no_model_is_asked() -> None:
    program = Retrieve(TEXTS, k=2)
    output, asked = run_on(program, [], query="where did the cat sit on a mat")
    assert (output.passages[0], output.ids[0], len(output.scores), asked) == (TEXTS[0], "0", 2, 0)
    assert program.run(query="friends").passages == [TEXTS[2]]
    assert program.run(query="the", k=1).ids == ["0"]


def test_n_grams_forgive_misspellings() -> None:
    assert Retrieve(TEXTS, k=1).run(query="freinds of catts").passages == []
    assert Retrieve(TEXTS, k=1, index="ngrams").run(query="freinds of catts").passages == [TEXTS[2]]


def test_passages_have_ids_and_metadata_of_their_own() -> None:
    corpus = [
        {"text": "apples", "id": "a", "year": 1999},
        Passage("b", "pears", metadata={"year": 2001}),
        {"text": "plums", "metadata": {"year": 1990}},
        "cherries",
    ]
    program = Retrieve(corpus)
    assert program.run(query="pears").ids == ["b"]
    found = [asyncio.run(program.corpus.search(word, 1))[0] for word in ("apples", "pears", "plums", "cherries")]
    assert [(one.id, one.metadata) for one in found] == [
        ("a", {"year": 1999}), ("b", {"year": 2001}), ("2", {"year": 1990}), ("3", {}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("corpus", "complaint"),
    [
        ([], "The corpus has no passage"),
        ("one text", "A corpus is a list of texts"),
        (3, "A corpus is a list of texts"),
        (
            ["a", 3, None, " "],
            "(?s)3 bad passages in the corpus.*passage 1: a text was expected, got 3.*passage 3 is empty",
        ),
        ([{"body": "a"}], "passage 0: a text was expected"),
        ([{"text": "a", "at": {1, 2}}], "passage 0: metadata is JSON"),
        ([{"text": "a", "metadata": "b"}], "metadata is a mapping"),
        ([{"text": "a", "id": 1}, {"text": "b", "id": "1"}], "Passages 0 and 1 of the corpus both have the id '1'"),
        ([7] * 9, "and 4 more"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused(corpus: Any, complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        Retrieve(corpus, k=1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"k": 0}, "k is a whole number from 1 on, got 0"),
        ({"k": 4}, "k is up to 4, but the corpus has 3 passages"),
        ({"k": dspex.Int(1, 5)}, "k is up to 5, but the corpus has 3 passages"),
        ({"k": dspex.Int(0, 2)}, "k is a whole number from 1 on, got 0"),
        ({"index": "bm52"}, "Unknown index 'bm52'. Did you mean 'bm25'"),
        ({"temperature": 0.5}, "Unknown setting of Retrieve 'temperature'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_it_is_made(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        Retrieve(TEXTS, **settings)
    with pytest.raises(ProgramError, match="index says how a list of texts is looked through"):
        Retrieve(BM25(TEXTS), index="ngrams")
    with pytest.raises(ProgramError, match="write in it: corpus ="):

        class Bare(Retrieve):
            Input = Docs.Input
            Output = Docs.Output


@pytest.mark.parametrize(
    ("values", "field", "complaint"),
    [
        ({"query": "x", "k": 4}, "k", "k: at most 3"),
        ({"query": "x", "k": 0}, "k", "k"),
        ({"query": ""}, "query", "query"),
    ],
)
def test_an_input_that_cannot_be_looked_up_is_refused(values: dict[str, Any], field: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        Retrieve(TEXTS).run(**values)
    assert [path for path, _ in caught.value.problems] == [field]


def test_a_retriever_of_your_own_is_asked_and_closed() -> None:
    own = Planets()
    program = Retrieve(own, k=2)
    assert program.path == "Retrieve(Planets)"
    assert program.run(query="Mars").passages == ["Mars 0", "Mars 1"]
    assert own.closed == 1
    with pytest.raises(ProgramError, match="cannot be saved"):
        program.state()


def test_what_is_found_reaches_the_model_and_k_is_a_variable() -> None:
    def rule(messages: Sequence[Mapping[str, Any]], _: Any) -> str:
        return json.dumps({"answer": str(messages[-1]["content"]).partition("\n")[0]})

    program = Answered().with_values({"look.k": 2})
    output, asked = run_on(program, rule, question="which cat or dog?")
    assert (output.answer, asked) == (f"context: {json.dumps(TEXTS[:2])}", 1)


@pytest.mark.parametrize(
    "program",
    [
        Retrieve(TEXTS, k=dspex.Int(1, 3, default=1)),
        Retrieve([{"text": text, "id": f"t{n}"} for n, text in enumerate(TEXTS)], k=1, index="ngrams"),
        Retrieve(planets, k=1),
        Docs(),
    ],
)
def test_it_is_the_same_after_a_journey_and_from_its_state(program: Retrieve) -> None:
    tuned = program.with_values({"k": 2}) if "k" in program.space().names else program
    expected = tuned.run(query="the cat")
    journeys: list[Any] = [Parcel.of(tuned).open(), program_from_state(json.loads(json.dumps(tuned.state())))]
    for again in journeys:
        assert (again.path, again.values) == (tuned.path, tuned.values)
        assert again.run(query="the cat").model_dump() == expected.model_dump()


def test_the_name_of_a_program_says_which_corpus_it_has() -> None:
    assert Retrieve(TEXTS).path == Retrieve(list(TEXTS)).path
    assert Retrieve(TEXTS).path.startswith("Retrieve(3 passages #")
    assert Retrieve(TEXTS).path != Retrieve(TEXTS[::-1]).path


def test_an_index_travels_as_its_passages() -> None:
    for index in (BM25(TEXTS * 1, k1=2.0, b=0.1), NgramRetriever(TEXTS)):
        again = pickle.loads(pickle.dumps(index))
        assert asyncio.run(again.search("cats", 3)) == asyncio.run(index.search("cats", 3))
        assert isinstance(index, Retriever)
