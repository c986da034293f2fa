"""The errors of a connection as ours: which failure of aiohttp means what, and what the user can do."""

from __future__ import annotations

import aiohttp

from dspex_ray.errors import LMConnectionError
from dspex_ray.lm.wire import bad_reply


def as_ours(error: BaseException, what: str) -> BaseException:
    """Return the LMError that names `what` for an error of aiohttp or of the system; any other error as it is."""
    if isinstance(error, TimeoutError) or not isinstance(error, aiohttp.ClientError | OSError):
        return error
    if isinstance(error, aiohttp.ClientConnectorError):
        return LMConnectionError(
            f"No connection to {what} ({error.os_error.strerror or error}). Start the model server there, "
            "or give the right address (base_url, or the provider's variable such as OPENAI_BASE_URL)."
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return bad_reply(f"{what} does not speak HTTP as expected", str(error).encode())
    return cut(what, str(error) or type(error).__name__)


def cut(what: str, reason: str) -> LMConnectionError:
    """Return the error of a connection that broke."""
    return LMConnectionError(f"The connection to {what} broke: {reason}. Calling again may succeed.")
