"""Hashed n-grams: vectors, the index, and their accuracy on real data."""

from __future__ import annotations

import csv
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.lm.ngrams import HashedNgrams, NgramIndex

BANKING77 = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77"
NEEDS_BANKING77 = pytest.mark.skipif(
    not (BANKING77 / "train.csv").is_file(), reason=f"no banking77 data in {BANKING77}"
)


def rows_of(name: str) -> list[tuple[str, str]]:
    with (BANKING77 / name).open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


@settings(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_every_text_has_a_vector_of_length_one_or_zero(text: str) -> None:
    vector = HashedNgrams(dim=64).vector(text)
    assert vector.shape == (64,)
    assert np.linalg.norm(vector) == pytest.approx(1.0 if text.strip() else 0.0, abs=1e-5) or not vector.any()


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(), max_size=8), st.text(), st.integers(0, 10))
def test_the_index_returns_as_many_positions_as_asked_for_or_there_are(texts: list[str], query: str, k: int) -> None:
    near = NgramIndex(texts).nearest(query, k)
    assert len(near) == min(k, len(texts)) == len(set(near))
    assert set(near) <= set(range(len(texts)))


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(min_size=1), min_size=1, max_size=8), st.data())
def test_an_indexed_text_is_as_near_to_itself_as_anything(texts: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(texts))
    scores = NgramIndex(texts).similarities(chosen)
    assert scores[texts.index(chosen)] == pytest.approx(scores.max(), abs=1e-5)
    assert scores.max() <= 1.0 + 1e-5


def test_vectors_are_the_same_in_every_process_and_version() -> None:
    features = [" a", "a ", " a ", "\0a", " b", "b ", " b ", "\0b", "a b"]
    positions, values = HashedNgrams(dim=2048).sparse("A  b")
    assert positions.tolist() == sorted(zlib.crc32(feature.encode()) % 2048 for feature in features)
    assert values == pytest.approx([1 / 3] * 9)


def test_repeated_features_count_sublinearly() -> None:
    ngrams = HashedNgrams()
    once, thrice = ngrams.similarities(["card", "card card card"], "card")
    assert once == pytest.approx(1.0)
    assert 0.9 < thrice < 1.0


def test_the_first_of_equally_near_texts_is_taken() -> None:
    assert HashedNgrams().nearest(["apples", "pears", "apples"], "apples") == 0
    assert NgramIndex(["x", "apples", "pears", "apples"]).nearest("apples", 2) == [1, 3]
    assert NgramIndex(["one", "two", "three"]).nearest("@", 3) == [0, 1, 2]


def test_only_the_last_texts_are_kept() -> None:
    ngrams = HashedNgrams()
    for number in range(5000):
        ngrams.sparse(f"{number}")
    ngrams.sparse("x" * 5000)
    assert len(ngrams._cache) == 4096
    assert "4999" in ngrams._cache
    assert "0" not in ngrams._cache


def test_it_pickles_without_what_it_has_kept() -> None:
    ngrams = HashedNgrams(dim=32)
    ngrams.sparse("hello")
    copy = pickle.loads(pickle.dumps(ngrams))
    assert (copy.dim, len(copy._cache)) == (32, 0)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="dim is 0"):
        HashedNgrams(dim=0)
    with pytest.raises(ValueError, match="k is -1"):
        NgramIndex(["a"]).nearest("a", -1)
    with pytest.raises(ValueError, match="empty"):
        HashedNgrams().nearest([], "a")


@NEEDS_BANKING77
def test_the_nearest_training_text_names_the_intent_of_five_in_six_banking77_messages() -> None:
    train, test = rows_of("train.csv"), rows_of("test.csv")[::3]
    index, ngrams = NgramIndex([text for text, _ in train]), HashedNgrams()
    alone = reranked = 0
    for text, label in test:
        near = index.nearest(text, 8)
        alone += train[near[0]][1] == label
        reranked += train[near[ngrams.nearest([train[row][0] for row in near], text)]][1] == label
    assert alone / len(test) >= 0.83
    assert reranked / len(test) >= 0.82
