"""The litellm client against the same simulated server, and what importing it must not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dspex_ray.errors import LMContextWindowError
from dspex_ray.lm.base import LM
from dspex_ray.lm.litellm_client import LiteLLMLM
from dspex_ray.lm.prices import price_of
from dspex_ray.lm.retry import Timing
from dspex_ray.testing.lm_contract import KEY, ask
from dspex_ray.testing.lm_load_contract import LMLoadContract
from dspex_ray.testing.model_server import ModelServer

# litellm's own types make pydantic warn at streamed replies; not ours to mend
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*' attribute:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    # nor what it leaves behind when a call is given up before litellm has begun it
    pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion.acompletion' was never awaited:RuntimeWarning"),
]


class TestLiteLLM(LMLoadContract):
    hang_timeout_s = 2.0

    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        return LiteLLMLM("openai/simulated", base_url=server.base_url, api_key=api_key, timing=timing)

    def test_the_cost_comes_from_the_price_table(self) -> None:
        price = price_of("openai/gpt-4o-mini")
        assert price is not None
        with ModelServer(answer=["forty two"] * 2) as server:
            lm = LiteLLMLM("openai/gpt-4o-mini", base_url=server.base_url, api_key=KEY)
            whole = self.complete(lm, ask("six times seven"))
            streamed = self.chunks(lm, ask("six times seven"))[-1].reply
        assert streamed is not None
        assert whole.cost_usd == price.cost_usd(whole.usage) == streamed.cost_usd

    def test_a_prompt_that_cannot_fit_is_told_by_how_much_and_never_sent(self) -> None:
        with ModelServer() as server:
            lm = LiteLLMLM("openai/gpt-4o-mini", base_url=server.base_url, api_key=KEY)
            for call in (self.complete, self.chunks):
                with pytest.raises(LMContextWindowError, match="takes 128,000: about 172,000 too many") as caught:
                    call(lm, ask("word " * 300_000))
                assert (caught.value.attempts, caught.value.retryable) == (0, False)
            assert server.counters()["requests"] == 0


def test_making_a_client_does_not_import_litellm() -> None:
    code = (
        "import sys; from dspex_agents.settings import Settings; from dspex_ray.lm.resolve import resolve_lm; "
        "resolve_lm('anthropic/claude-sonnet-4-5', settings=Settings()); "
        "assert not {'litellm', 'openai', 'aiohttp', 'numpy', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_importing_litellm_opens_no_connection() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from dspex_ray.lm.litellm_client import _litellm\n"
        "assert len(_litellm().model_cost) > 1000\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=55)
