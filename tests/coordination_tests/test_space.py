"""Spaces and candidates."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination import Bool, Candidate, Choice, Demos, Float, Int, Space, SpaceError, Variable
from dspex_coordination.conditions import V
from dspex_coordination.space import Constraint

pieces: list[Variable[Any]] = [Float(0, 1), Int(1, 64, log=True), Choice(["a", "b", None]), Bool(), Demos(max=3)]
spaces = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(pieces), max_size=5).map(Space)


@given(spaces, st.integers(0, 2**32))
def test_every_sample_validates_to_itself(space: Space, seed: int) -> None:
    candidate = space.bind(["x", "y", "z"]).sample(random.Random(seed))
    assert space.validate(candidate.values) == candidate
    assert tuple(candidate.values) != () or len(space) == 0


@given(spaces)
def test_json_rebuilds_the_space_with_its_fingerprint(space: Space) -> None:
    again = Space.from_json(space.to_json())
    assert again == space
    assert again.fingerprint == space.fingerprint
    assert pickle.loads(pickle.dumps(space)) == space


@given(spaces, st.integers(0, 2**32))
def test_sampling_and_fingerprint_do_not_depend_on_declaration_order(space: Space, seed: int) -> None:
    turned = Space(dict(reversed(list(space.variables.items()))))
    assert turned.fingerprint == space.fingerprint
    assert turned.sample(random.Random(seed)) == space.sample(random.Random(seed))


def test_any_change_of_a_domain_or_default_changes_the_fingerprint() -> None:
    variants = [Float(0, 1), Float(0, 2), Float(0, 1, default=0.1), Float(0, 1, step=0.5), Choice([0.0, 1.0])]
    assert len({Space({"x": variable}).fingerprint for variable in variants}) == len(variants)


def test_an_empty_space_has_one_candidate() -> None:
    space = Space({})
    assert (len(space), space.cardinality) == (0, 1)
    assert dict(space.default().values) == {}


def test_validate_reports_every_violation_at_once() -> None:
    space = Space({"temperature": Float(0, 1), "style": Choice(["a"]), "k": Int(1, 3)})
    with pytest.raises(SpaceError) as caught:
        space.validate({"temperature": 7, "style": "b", "temprature": 1})
    assert [name for name, _ in caught.value.problems] == ["temprature", "temperature", "style", "k"]
    assert "Did you mean 'temperature'" in str(caught.value)
    assert "k: no value given; its default is 2" in str(caught.value)


def test_what_is_no_variable_is_refused_by_name() -> None:
    with pytest.raises(SpaceError, match=r"x: expected a variable such as Float or Choice, got 3"):
        Space({"x": 3, "y": Bool()})  # type: ignore[dict-item]


def test_a_description_shows_variables_in_order_and_constraints() -> None:
    late = Int(1, 3, when={"style": "a"})
    space = Space({"k": late, "style": Choice(["a", "b"])}, [Constraint(V("k") < 3, "Too deep.")])
    assert space.describe().splitlines() == [
        "style  Choice(options=['a', 'b'], default='a')",
        f"k      {late!r}",
        "k < 3  (Too deep.)",
    ]
    assert Space({}).describe() == ""


def test_drawing_and_checking_twenty_variables_takes_little_more_than_making_the_candidate() -> None:
    space = Space({f"v{i}": Float(0, 1) if i % 2 else Choice(["a", "b", "c"]) for i in range(20)})
    rng = random.Random(0)
    values = space.sample(rng).values

    def seconds(work: Callable[[], object]) -> float:
        return min(timeit.repeat(work, number=5, repeat=60))  # the quietest moment of a busy machine

    making = seconds(lambda: Candidate(values))
    assert seconds(lambda: space.sample(rng)) < 6 * making
    assert seconds(lambda: space.validate(values)) < 6 * making


def test_every_lists_a_finite_space_once() -> None:
    space = Space({"a": Bool(), "b": Int(1, 3), "d": Demos(max=1, select=["fixed"])}).bind(["p", "q"])
    assert space.cardinality == 2 * 3 * 3
    assert len({candidate.key for candidate in space.every(18)}) == 18


def test_a_variable_takes_its_name_from_the_space() -> None:
    with pytest.raises(SpaceError, match=r"router\.temperature: 2 is not allowed"):
        Space({"router.temperature": Float(0, 1)}).validate({"router.temperature": 2})


def test_a_candidate_key_does_not_depend_on_order_process_or_hash_seed() -> None:
    candidate = Candidate({"b": 1, "a": {"y": [1.5], "x": None}})
    assert candidate.key == Candidate({"a": {"x": None, "y": [1.5]}, "b": 1}).key
    code = "import dspex_coordination as c; print(c.Candidate({'b': 1, 'a': {'y': [1.5], 'x': None}}).key)"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
    assert candidate.key == other == "cd54d8916335b683"


def test_a_candidate_is_frozen_and_does_not_share_its_makers_lists() -> None:
    ids = ["a"]
    candidate = Candidate({"demos": {"ids": ids}})
    ids.append("b")
    assert candidate.values["demos"] == {"ids": ["a"]}
    with pytest.raises(TypeError):
        candidate.values["demos"] = 1  # type: ignore[index]
    with pytest.raises(AttributeError, match="frozen"):
        candidate.key = "x"
    assert pickle.loads(pickle.dumps(candidate)) == candidate


def test_a_candidate_of_something_that_is_no_json_is_refused() -> None:
    with pytest.raises(SpaceError, match="JSON values only"):
        Candidate({"x": object()})
