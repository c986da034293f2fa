"""A port to a Ray actor."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayActorError, RayTaskError

from dspex_agents.messaging.message import Reply
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError

_REVIVAL_PAUSE_S = 0.05


class RayPort:
    """A port to a Ray actor. Pickles, so that hosts can call the root and each other."""

    def __init__(self, address: str, handle: Any) -> None:
        self._address, self._handle = address, handle

    @property
    def address(self) -> str:
        """The actor's name."""
        return self._address

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call the actor and await the result."""
        try:
            reference = self._send(method, args)
            result = await (reference if timeout_s is None else asyncio.wait_for(reference, timeout_s))
            return _received(method, result)
        except RayTaskError as error:
            raise _cause(error) from None
        except ActorDiedError as error:
            raise PortDiedError(f"{self._address}: {first_line(error)}") from None
        except (ActorUnavailableError, RayActorError) as error:
            await asyncio.sleep(_REVIVAL_PAUSE_S)  # whoever asks again at once would spin
            raise PortUnavailableError(f"{self._address}: {first_line(error)}") from None

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call the actor and block this thread until the result is there."""
        try:
            return _received(method, ray.get(self._send(method, args), timeout=timeout_s))
        except GetTimeoutError:
            raise TimeoutError(f"{self._address}.{method} did not answer within {timeout_s} s") from None
        except RayTaskError as error:
            raise _cause(error) from None
        except ActorDiedError as error:
            raise PortDiedError(f"{self._address}: {first_line(error)}") from None
        except (ActorUnavailableError, RayActorError) as error:
            time.sleep(_REVIVAL_PAUSE_S)
            raise PortUnavailableError(f"{self._address}: {first_line(error)}") from None

    def _send(self, method: str, args: tuple[Any, ...]) -> Any:
        if method == "deliver":
            return self._handle.deliver_packed.remote(list(args[0]))  # to Ray, a list costs a quarter of a tuple
        return getattr(self._handle, method).remote(*args)

    def kill(self) -> None:
        """End the actor's process at once; Ray does not restart it."""
        ray.kill(self._handle, no_restart=True)


class RootPort(RayPort):
    """A port to a system's root, whose actor has one method for all calls."""

    def _send(self, method: str, args: tuple[Any, ...]) -> Any:
        return self._handle.invoke.remote(method, *args)


def _received(method: str, result: Any) -> Any:
    return Reply._make(result) if method == "deliver" else result


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    return cause if isinstance(cause, Exception) else error


def first_line(error: Exception) -> str:
    """Return the first line of Ray's long story."""
    return str(error).split("\n", 1)[0]
