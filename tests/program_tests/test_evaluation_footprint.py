"""What an evaluation loads and how much memory its calls in flight keep."""

from __future__ import annotations

import json
import subprocess
import sys

from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

PROGRAM = """
import asyncio, json, sys
import dspex_ray as dspex

class Lookup(dspex.Program):
    class Input(dspex.Schema):
        question: str
    class Output(dspex.Schema):
        answer: str

def rows(count):
    return [{"question": json.dumps({"answer": str(i)}), "answer": str(i)} for i in range(count)]
"""
OFFLINE = """
class Own(Lookup):
    async def predict(self, input):
        return self.Output(**json.loads(input.question))

found = dspex.evaluate(Own(), rows(20))
print(json.dumps([found.accuracy, sorted({"numpy", "aiohttp", "ray", "litellm"} & set(sys.modules))]))
"""
IN_FLIGHT = """
from dspex_ray.lm.resolve import resolve_lm

def peak_kb():  # of this process; ru_maxrss begins with that of the process which started this one
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

async def main(few, many):
    program = Lookup().with_lm(resolve_lm("vllm/m", base_url=sys.argv[1], limits=dspex.LMLimits(concurrency=many)))
    peaks = []
    for count in (few, many):
        found = await dspex.aevaluate(program, rows(count), metric="exact", concurrency=count)
        peaks.append(peak_kb())
    await program.lm.aclose()
    print(json.dumps([found.accuracy, (peaks[1] - peaks[0]) / (many - few)]))

asyncio.run(main(100, 600))
"""


def told(code: str, *words: str) -> list[object]:
    command = [sys.executable, "-c", PROGRAM + code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_an_evaluation_with_scores_of_0_and_1_loads_no_numpy_and_no_client() -> None:
    assert told(OFFLINE) == [1.0, []]


def test_a_call_in_flight_keeps_no_more_than_30_kilobytes() -> None:
    with ModelServer(weather=Weather(latency=1.0)) as server:
        accuracy, kilobytes = told(IN_FLIGHT, server.base_url)
    assert accuracy == 1.0
    assert isinstance(kilobytes, float)
    assert kilobytes < 30
