"""`optimize`: it improves a program, the same way each time, and says at once what is wrong with a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from dspex_coordination.sweep import SweepStore
from dspex_ray import Program, Schema, load_data, optimize
from dspex_ray.agent_system import AgentSystem
from dspex_ray.errors import (
    DataError,
    DspexError,
    LMAuthError,
    LMConnectionError,
    NothingToTuneError,
    UnknownNameError,
    UsageError,
)
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.lm.retry import Timing
from dspex_ray.metrics import MetricError
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

Shop = tuple[type[Program], str]


class Fixed(Program):
    """A program without a variable."""

    class Input(Schema):
        message: str

    class Output(Schema):
        intent: Literal["cancel_order", "refund_status"]

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        return self.Output(intent="cancel_order")


def optimized(shop: Shop, store: Store, program: Program | None = None, **options: Any) -> Optimized:
    defaults: dict[str, Any] = {"trials": 4, "seed": 7, "runtime": "in-process", "store": store}
    return optimize(program or shop[0](), options.pop("data", shop[1]), **{**defaults, **options})


class TestSearching:
    def test_the_program_gets_better_beyond_its_interval_and_is_kept(self, shop: Shop, store: Store) -> None:
        seen: list[Any] = []
        found = optimized(shop, store, trials=8, progress=seen.append)
        assert found.baseline < found.low < found.score < found.high
        assert found.program.values["demos"] != shop[0]().values["demos"]
        kept = store.version(found.version.program)
        assert kept.state == found.program.state()
        assert kept.facts["score"] == found.score
        assert kept.facts["data"]["rows"] == len(load_data(shop[1], shop[0]))
        assert len(found.history) == kept.facts["trials"] == 8
        assert all(state["trials_total"] == 8 for state in seen)

    def test_the_same_seed_gives_the_same_version_whatever_the_number_of_workers(
        self, shop: Shop, make_store: Callable[[], Store]
    ) -> None:
        runs = [optimized(shop, make_store(), trials=6, workers=workers) for workers in (1, 2, 4)]
        assert len({run.version.hash for run in runs}) == 1
        assert runs[0].history == runs[1].history == runs[2].history
        assert optimized(shop, make_store(), trials=6, seed=8).version.hash != runs[0].version.hash

    def test_its_figures_are_json_without_the_trials(self, shop: Shop, store: Store) -> None:
        found = optimized(shop, store, trials=2)
        (best,) = found.pareto
        assert found.to_json() == {
            "run_id": found.run_id,
            "score": found.score,
            "low": found.low,
            "high": found.high,
            "baseline": found.baseline,
            "gap": found.version.facts["train"]["score"] - found.score,
            "expected": found.version.facts["expected"],
            "train": found.version.facts.get("train"),
            "warnings": list(found.warnings),
            "cost_usd": 0.0,
            "trials": 2,
            "failed_trials": 0,
            "objectives": [{"name": "score", "direction": "maximize", "weight": 1.0}],
            "pareto": [
                {"trial": best.number, "measures": dict(best.measures), "values": best.candidate.to_json()},
            ],
            "versions": [{"version": 1, "trial": best.number}],
            "stopped_by": None,
            "version": 1,
            "program": "dspex_ray.demo.program:ShopRoute",
            "values": found.program.values,
        }

    def test_rows_given_for_both_learning_and_validation_are_refused_until_left_out(
        self, shop: Shop, store: Store
    ) -> None:
        data = load_data(shop[1], shop[0])
        rows = [{**example.input, **example.output} for example in data.examples]
        with pytest.raises(DataError, match=r"10 of 30 rows .* \(first rows 1, 2, 3, 4, 5\)"):
            optimized(shop, store, data=rows[:300], validation=rows[290:320])
        learnt = load_data(rows[:300], shop[0]).without(load_data(rows[290:320], shop[0]))
        assert len(learnt) == 290
        assert optimized(shop, store, data=learnt, validation=rows[290:320]).history[0].mean is not None

    def test_rows_given_for_validation_are_the_ones_it_chooses_by(self, shop: Shop, store: Store) -> None:
        data = load_data(shop[1], shop[0])
        rows = [{**example.input, **example.output} for example in data.examples]
        found = optimized(shop, store, data=rows[:300], validation=rows[300:340])
        assert len(found.history[0].scores) == 40
        context = SweepStore(store.database).load(found.run_id).config
        assert (context["train_rows"], context["validation_rows"]) == (300, 40)
        with pytest.raises(UsageError, match="intent"):
            optimized(shop, store, data=rows[:300], validation=[{"message": "x", "intent": "no_such_intent"}])

    def test_a_metric_of_ones_own_decides(self, shop: Shop, store: Store) -> None:
        def never(example: Any, output: Any) -> float:
            return 0.25

        found = optimized(shop, store, metric=never)
        assert (found.score, found.baseline) == (0.25, 0.25)
        assert "never" in found.version.facts["metric"]

    def test_the_optimised_program_runs_as_agents_that_record_its_version(self, shop: Shop, store: Store) -> None:
        found = optimized(shop, store)
        with found.to_agent_system(runtime="in-process", store=store) as system:
            assert isinstance(system.run(message="cancel my order please"), shop[0].Output)
        with store.database.read() as connection:
            versions = connection.exec_driver_sql("SELECT version FROM calls WHERE version IS NOT NULL").all()
        assert versions == [("1",)]


class TestMoney:
    def test_a_budget_ends_the_search_and_the_bill_is_the_ledgers(
        self, shop: Shop, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ModelServer(answer="nearest", models=("gpt-4o-mini",)) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            monkeypatch.setenv("OPENAI_API_KEY", "k")
            program = shop[0]().with_lm("openai/gpt-4o-mini")
            one = optimized(shop, store, program, trials=1)
            found = optimized(shop, store, program, optimizer="bootstrap", trials=50, budget_usd=one.cost_usd * 3)
        assert one.cost_usd > 0
        assert 1 < len(found.history) < 50
        assert found.version.facts["status"] == "budget"
        assert found.cost_usd == store.totals(run_id=found.run_id).cost_usd >= one.cost_usd * 3
        # trials that were open when the money ran out are finished: at most four of them
        trials = SweepStore(store.database).trials(found.run_id)
        assert found.cost_usd == pytest.approx(sum(trial.cost_usd for trial in trials), rel=0.01)
        (closing,) = trials[len(found.history) :]  # the last look at the best, which is no trial
        assert closing.split == "train"

    def test_a_model_server_with_faults_leads_to_the_same_choice_and_an_exact_bill(
        self, shop: Shop, make_store: Callable[[], Store]
    ) -> None:
        faults = Faults(rate_429=0.07, rate_500=0.07, rate_cut=0.06, retry_after_s=0.0)
        outcomes = []
        for weather in (Weather(), Weather(seed=5, faults=faults)):
            store = make_store()
            with ModelServer(answer="nearest", weather=weather) as server:
                program = shop[0]().with_lm(_client(server))
                found = optimized(shop, store, program, trials=3)
                counted = server.counters()
            bill = store.totals(run_id=found.run_id)
            assert (bill.prompt_tokens, bill.completion_tokens) == (
                counted["prompt_tokens"],
                counted["completion_tokens"],
            )
            assert (bill.calls, bill.failed) == (counted["answered"], 0)
            assert bill.cost_usd == pytest.approx(2e-6 * bill.prompt_tokens + 4e-6 * bill.completion_tokens)
            outcomes.append(found)
        assert counted["requests"] > 1.15 * counted["answered"]
        assert outcomes[0].program.values == outcomes[1].program.values
        assert [t.scores for t in outcomes[0].history] == [t.scores for t in outcomes[1].history]

    def test_calls_of_rows_that_were_lost_are_on_the_bill_too(self, shop: Shop, store: Store) -> None:
        script = ["ok"] * 3 + ["500"] * 2  # the first answers the look before the search
        weather = Weather(script=script)
        with ModelServer(answer="nearest", weather=weather) as server:
            program = shop[0]().with_lm(_client(server, max_attempts=1))
            found = optimized(shop, store, program, trials=1, workers=1)
            counted = server.counters()
        bill = store.totals(run_id=found.run_id)
        assert counted["by_status"]["500"] == 2
        assert bill.calls - bill.failed >= len(found.history[0].scores) + 1
        assert bill.failed >= 2


class TestRefusing:
    def test_a_program_without_a_variable_has_nothing_to_tune(self, store: Store) -> None:
        with pytest.raises(NothingToTuneError, match=r"Fixed declares no variable.*demos = "):
            optimize(Fixed(), [{"message": "x", "intent": "cancel_order"}] * 10, store=store)

    def test_an_unknown_optimizer_is_refused_with_near_matches(self, shop: Shop, store: Store) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'bootstrap'"):
            optimized(shop, store, optimizer="bootstrp")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"trials": 0}, "trials must be at least 1, got 0"),
            ({"budget_usd": 0.0}, "budget_usd must be above 0"),
            ({"budget_usd": -1.0}, "budget_usd must be above 0"),
            ({"metric": "exakt"}, "Did you mean 'exact'"),
            ({"runtime": "cloud"}, "runtime must be 'ray' or 'in-process', got 'cloud'"),
            ({"workers": 0}, "at least 1 worker"),
            ({"data": "no-such-file.csv"}, r"no-such-file\.csv"),
            ({"resume": "run-typo"}, "No sweep 'run-typo'"),
        ],
    )
    def test_a_request_that_cannot_be_is_refused(
        self, shop: Shop, store: Store, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(UsageError, match=said):
            optimized(shop, store, **options)
        assert store.versions() == []

    def test_a_class_instead_of_an_instance_is_refused(self, shop: Shop, store: Store) -> None:
        with pytest.raises(UsageError, match="needs a program instance, such as Route"):
            optimize(shop[0], shop[1], store=store)

    def test_a_metric_that_raises_is_told_before_any_agent_starts(
        self, shop: Shop, store: Store, systems: list[AgentSystem]
    ) -> None:
        def broken(example: Any, output: Any) -> float:
            raise KeyError("labels")

        with pytest.raises(MetricError, match=r"Metric broken failed on row 0 .*KeyError: 'labels'"):
            optimized(shop, store, metric=broken)
        assert systems == []

    def test_an_unreachable_model_is_told_at_once(
        self, shop: Shop, store: Store, systems: list[AgentSystem], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        started = time.monotonic()
        with pytest.raises(LMConnectionError, match=r"127\.0\.0\.1:9"):
            optimized(shop, store, shop[0]().with_lm("openai/test"))
        assert time.monotonic() - started < 10
        assert systems == []
        assert store.totals().failed == 1

    def test_a_refused_key_is_told_at_once(self, shop: Shop, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        with ModelServer(api_key="right") as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            monkeypatch.setenv("OPENAI_API_KEY", "wrong")
            with pytest.raises(LMAuthError):
                optimized(shop, store, shop[0]().with_lm("openai/test"))
            assert server.counters()["requests"] == 1

    def test_a_model_that_goes_away_for_good_ends_the_run_which_can_be_resumed(self, shop: Shop, store: Store) -> None:
        with ModelServer(answer="nearest", weather=Weather(script=["ok"], faults=Faults(rate_500=1.0))) as server:
            program = shop[0]().with_lm(_client(server, max_attempts=2))
            with pytest.raises(DspexError, match=r"gave up.*LMServerError.*resume run 'run-"):
                optimized(shop, store, program)
        (record,) = SweepStore(store.database).list_sweeps()
        assert record.status == "failed"
        with ModelServer(answer="nearest") as server:
            program = shop[0]().with_lm(_client(server))
            assert optimized(shop, store, program, resume=record.run_id).run_id == record.run_id

    def test_when_every_trial_fails_the_error_says_why(self, shop: Shop, store: Store) -> None:
        def fussy(example: Any, output: Any) -> float:
            if example.id != first:
                raise ValueError("only the first row pleases")
            return 1.0

        # the first validation row passes the look before the search, all others fail in the agents
        data = load_data(shop[1], shop[0])
        first = data.split(7)[1].examples[0].id
        with pytest.raises(DspexError, match=r"No candidate of run run-\w+ could be scored: .*only the first row"):
            optimized(shop, store, metric=fussy)
        assert store.versions() == []

    def test_it_is_not_called_inside_a_running_event_loop(self, shop: Shop, store: Store) -> None:
        import asyncio  # noqa: PLC0415 - for this test alone

        async def inside() -> None:
            optimized(shop, store)

        with pytest.raises(UsageError, match=r"asyncio\.to_thread\(optimize"):
            asyncio.run(inside())

    def test_a_system_that_cannot_start_says_why(self, store: Store) -> None:
        class Tokenizer:
            vocabulary = "vocabulary.txt"

            def __setstate__(self, state: Any) -> None:
                raise RuntimeError("no tokenizer file")

        program = Fixed()
        program.tokenizer = Tokenizer()
        program.tokenizer.loaded = True
        with pytest.raises(DspexError, match="no tokenizer file"):
            program.to_agent_system(runtime="in-process", store=store)


async def no_pause(_seconds: float) -> None:
    return


def _client(server: ModelServer, max_attempts: int = 20) -> OpenAICompatibleLM:
    return OpenAICompatibleLM(
        "openai/test",
        wire_model="test",
        base_url=server.base_url,
        api_key="k",
        price=Price(2e-6, 4e-6, 1e-6),
        max_attempts=max_attempts,
        timing=Timing(sleep=no_pause),
    )
