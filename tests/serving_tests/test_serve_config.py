from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from served_programs import Tuned

from dspex_ray.errors import ConfigurationError, DspexError
from dspex_ray.serving.serve_config import Served, chosen, served
from dspex_ray.store import open_store


def test_every_wrong_argument_is_named_before_anything_is_started() -> None:
    with pytest.raises(ValidationError) as caught:
        served({"nmae": "x", "program": 3, "replicas": [0, "4"]})
    places = {".".join(map(str, error["loc"])) for error in caught.value.errors()}
    assert places == {"nmae", "name", "program", "replicas.0", "replicas.1"}


@pytest.mark.parametrize(("name", "replicas"), [("a/b", [1, 4]), ("", [1, 4]), ("tuned", [4, 1])])
def test_a_name_or_number_that_cannot_be_is_refused_before_anything_is_started(name: str, replicas: list[int]) -> None:
    with pytest.raises(ConfigurationError):
        served({"program": "served_programs:Tuned", "name": name, "replicas": replicas})


def test_the_version_is_the_one_that_the_store_has_under_its_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    for share in (0.25, 0.75):
        store.save_version(Tuned().with_values({"share": share}).state(), {}, now=1.0)
    asked = Served(program="served_programs:Tuned", name="tuned")
    untuned, label = chosen(asked, store)
    assert (untuned.share, label) == (0.0, "untuned")
    for named, number, share in (("1", "1", 0.25), ("latest", "2", 0.75)):
        program, label = chosen(asked.model_copy(update={"version": named}), store)
        assert (program.share, label) == (share, number)
    with pytest.raises(DspexError, match="7"):
        chosen(asked.model_copy(update={"version": "7"}), store)
