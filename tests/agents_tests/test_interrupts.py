from __future__ import annotations

import signal
import threading

import pytest

from dspex_agents.interrupts import interrupts_held


def test_ctrl_c_within_the_block_arrives_once_when_the_block_is_done() -> None:
    done = []

    def hold() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_goes_before_a_held_ctrl_c() -> None:
    def broken() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), interrupts_held():
        broken()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_the_block_runs_as_it_is() -> None:
    ran = []

    def work() -> None:
        with interrupts_held():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]
