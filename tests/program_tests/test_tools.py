"""Tools from typed functions: what they are made of, and what a call of one comes to."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Annotated, Any, Literal

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import ConfigurationError, LMConnectionError, LMContextWindowError, ProgramError, ToolError
from dspex_ray.schema import Probability, Schema
from dspex_ray.tools import Tool, as_json, as_text, as_tool, tool, tool_set


class Place(Schema):
    city: str
    zip_code: int


@tool
def search(query: str, k: int = 3, *, language: Literal["en", "de"] = "en") -> list[str]:
    """Search the web.

    It is large.

    Args:
        query (str): What to look for,
            in any language.
        k: How many: at most ten.

    Returns:
        The titles.
    """
    return [f"{query} {i} {language}" for i in range(k)]


def plain(query: str) -> str:
    """Repeat the query."""
    return query


async def later(number: float) -> float:
    await asyncio.sleep(0)
    return number * 2


def call(made: Any, **arguments: Any) -> Any:
    return asyncio.run(as_tool(made).acall(arguments))


def test_a_tool_has_the_name_the_description_and_the_typed_arguments_of_its_function() -> None:
    assert isinstance(search, Tool)
    assert (search.name, search.description) == ("search", "Search the web.\n\nIt is large.")
    assert search.json_schema() == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for, in any language."},
            "k": {"type": "integer", "default": 3, "description": "How many: at most ten."},
            "language": {"enum": ["en", "de"], "type": "string", "default": "en"},
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def test_a_decorated_function_can_still_be_called() -> None:
    assert search("a", k=1) == ["a 0 en"]


def numpy_form(a: int, b: int) -> None:
    """Do it.

    Parameters
    ----------
    a : int
        The first
        of two.
    b
        The second.

    Returns
    -------
    None
    """


def sphinx_form(a: int, b: int) -> None:
    """Do it.

    :param int a: The first
        of two.
    :param b: The second.
    :returns: nothing
    """


@pytest.mark.parametrize("function", [numpy_form, sphinx_form])
def test_numpy_and_sphinx_docstrings_describe_the_arguments_too(function: Any) -> None:
    made = as_tool(function)
    told = {name: node["description"] for name, node in made.json_schema()["properties"].items()}
    assert (made.description, told) == ("Do it.", {"a": "The first of two.", "b": "The second."})


@given(st.text(max_size=300))
def test_no_docstring_breaks_a_tool(text: str) -> None:
    def one(a: int) -> int:
        return a

    one.__doc__ = text
    assert as_tool(one).json_schema()["required"] == ["a"]


def test_openai_and_anthropic_get_their_form_of_a_tool() -> None:
    openai = search.to_openai()
    assert openai["type"] == "function"
    assert openai["function"]["strict"] is True
    assert openai["function"]["parameters"]["required"] == ["query", "k", "language"]
    anthropic = search.to_anthropic()
    assert anthropic["input_schema"]["required"] == ["query"]
    assert anthropic["description"] == search.description


def test_arguments_that_strict_output_cannot_say_are_told_to_openai_without_strict() -> None:
    def count(words: dict[str, int]) -> int:
        return sum(words.values())

    assert as_tool(count).to_openai()["function"]["strict"] is False


def test_a_result_is_text_as_it_is_and_json_otherwise() -> None:
    assert call(plain, query="hi").text == "hi"
    assert call(search, query="a", k=2).text == '["a 0 en", "a 1 en"]'
    assert call(later, number=1.5).value == 3.0


def test_every_bad_argument_is_told_with_its_path_and_the_function_is_not_called() -> None:
    called = []

    def visit(place: Place, chance: Probability, note: str = "") -> None:
        called.append(place)

    result = call(visit, place={"city": "Bonn", "zip_code": "x"}, chance=2, notes="?")
    assert not called
    assert result.error
    for path in ("place.zip_code:", "chance:", "notes: unknown field"):
        assert path in result.text
    assert call(visit, place={"city": "Bonn", "zip_code": 53111}, chance=0.5).text == "null"
    assert called == [Place(city="Bonn", zip_code=53111)]


def test_an_error_goes_to_the_model_with_its_type_and_a_tool_error_as_it_is() -> None:
    def fails(how: str) -> str:
        raise ToolError("ask for less") if how == "told" else KeyError(how)

    assert call(fails, how="told").text == "ask for less"
    result = call(fails, how="x")
    assert (result.text, result.error) == ("KeyError: 'x'", "KeyError: 'x'")


@pytest.mark.parametrize("error", [LMConnectionError("gone"), ConfigurationError("no key"), KeyboardInterrupt()])
def test_what_says_nothing_about_the_call_passes_through(error: BaseException) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        call(fails)


def test_a_prompt_too_long_for_a_model_within_a_tool_is_told_to_the_model() -> None:
    def fails() -> None:
        raise LMContextWindowError("too long")

    assert call(fails).text == "LMContextWindowError: too long"


def test_a_cancelled_call_is_cancelled() -> None:
    async def scene() -> bool:
        started = asyncio.Event()

        async def waits() -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(as_tool(waits).acall({}))
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(scene())


def test_a_function_that_takes_too_long_is_told_so_and_does_not_hold_up_the_loops_end() -> None:
    release = threading.Event()

    def hangs() -> None:
        release.wait(20)

    began = time.monotonic()
    result = asyncio.run(as_tool(hangs, timeout_s=0.05).acall({}))
    release.set()
    assert result.text == "hangs did not answer within 0.05 s."
    assert time.monotonic() - began < 10


def test_a_function_that_hangs_does_not_keep_the_process_from_ending() -> None:
    code = (
        "import asyncio, threading\nfrom dspex_ray.tools import as_tool\n"
        "def hangs() -> None:\n    threading.Event().wait()\n"
        "print(asyncio.run(as_tool(hangs, timeout_s=0.05).acall({})).error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("TimeoutError")


def test_a_timeout_of_the_functions_own_is_its_error_and_not_the_tools() -> None:
    def fails() -> None:
        raise TimeoutError("the database")

    assert call(fails).text == "TimeoutError: the database"


def test_a_plain_function_runs_beside_the_loop_and_sees_the_callers_context() -> None:
    whose = contextvars.ContextVar("whose", default="nobody")

    def tell() -> list[Any]:
        return [whose.get(), threading.current_thread() is threading.main_thread()]

    async def scene() -> Any:
        whose.set("ada")
        return (await as_tool(tell).acall({})).value

    assert asyncio.run(scene()) == ["ada", False]


def test_a_plain_function_may_stop_iteration_or_return_something_to_await() -> None:
    def stops() -> None:
        raise StopIteration

    assert call(stops).text == "RuntimeError: StopIteration"
    assert call(partial(later, number=2.0)).value == 4.0

    def wraps(number: float) -> Any:
        return later(number)

    assert call(wraps, number=3.0).value == 6.0


def test_a_long_result_is_cut_and_the_cut_is_said() -> None:
    made = as_tool(plain, most_chars=10)
    result = asyncio.run(made.acall({"query": "x" * 1000}))
    assert result.text == "x" * 10 + "\n... (cut: the first 10 of 1,000 characters)"
    assert result.value == "x" * 1000


def test_a_result_without_end_is_an_error_and_no_hang() -> None:
    def laughs() -> Any:
        value: list[Any] = ["ha"]
        for _ in range(40):
            value = [value] * 10
        return value

    def circles() -> Any:
        value: list[Any] = []
        value.append(value)
        return value

    for function in (laughs, circles):
        assert call(function).text.startswith("ValueError: the value nests deeper")


def test_methods_objects_and_partials_are_tools() -> None:
    class Library:
        def __init__(self) -> None:
            self.books = ["a"]

        def find(self, title: str) -> bool:
            """Find a book."""
            return title in self.books

    class FindBook:
        """Finds books."""

        async def __call__(self, title: str) -> str:
            return title.upper()

    method, made = as_tool(Library().find), as_tool(FindBook())
    assert (method.name, method.description, call(method, title="a").value) == ("find", "Find a book.", True)
    assert (made.name, made.description, call(made, title="b").value) == ("find_book", "Finds books.", "B")
    assert call(partial(search.function, k=1), query="q").value == ["q 0 en"]


def test_positional_only_arguments_are_given_by_place() -> None:
    def minus(a: int, b: int, /) -> int:
        return a - b

    assert call(minus, b=1, a=3).value == 2


def untyped(query, k=3):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - the fault under test
    return query


def starred(*words: str) -> None: ...
def wrong_default(k: int = "three") -> None: ...  # type: ignore[assignment]  # the fault under test
def undefined_type(k: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the fault under test


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (untyped, "argument 'query' has no type; write `query: str`"),
        (untyped, "argument 'k' has no type"),
        (starred, r"\*words cannot be told to a model"),
        (wrong_default, "Tool wrong_default: .*default"),
        (undefined_type, "the type 'Missing' is not defined"),
        (lambda query: query, "write it as `def name"),
        ("search", "A tool is a function with typed arguments"),
        (dict, "A tool is a function with typed arguments"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_what_to_write(bad: Any, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        as_tool(bad)


def test_options_of_a_tool_are_checked_and_kept() -> None:
    made = tool(name="look", description="Look it up.", timeout_s=2, most_chars=5)(plain)
    assert (made.name, made.description, made.timeout_s, made.most_chars) == ("look", "Look it up.", 2, 5)
    with pytest.raises(ProgramError, match="timeout_s and most_chars are above 0"):
        tool(timeout_s=0)(plain)
    with pytest.raises(ProgramError, match="letters, digits"):
        tool(name="look it up")(plain)


def test_two_tools_of_one_name_and_reserved_names_are_refused() -> None:
    assert list(tool_set([search, plain])) == ["search", "plain"]
    with pytest.raises(ProgramError, match="Two tools are called 'plain'"):
        tool_set([plain, tool(name="plain")(later)])
    with pytest.raises(ProgramError, match="cannot be called 'plain' here"):
        tool_set([plain], reserved=("plain",))
    for bad in ("search", 3, {"a": search}):
        with pytest.raises(ProgramError, match="tools is a list"):
            tool_set(bad)


def test_tools_travel_between_processes() -> None:
    def inner(a: Annotated[int, "how many"], b: int = 2) -> int:
        return a * b

    assert pickle.loads(pickle.dumps(search)) is search
    again = cloudpickle.loads(cloudpickle.dumps(as_tool(inner)))
    assert asyncio.run(again.acall({"a": 4})).value == 8


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner),
        max_leaves=20,
    )
)
def test_any_value_becomes_text_of_a_bounded_length(value: Any) -> None:
    assert len(as_text(value, 50)) <= 50 + 80


def test_a_set_is_told_in_one_order() -> None:
    assert as_json({"b", "a", "c"}) == ["a", "b", "c"]
    assert as_json({"when": {3, 1}}) == {"when": [1, 3]}
