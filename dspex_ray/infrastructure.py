"""Whether a failed model call says something about the program, or only about the way to the model."""

from __future__ import annotations

from dspex_ray.errors import BudgetExceededError, LMContentFilterError, LMContextWindowError, LMError

_REFUSED_REQUEST = (400, 413, 422)  # HTTP statuses that blame this one request, not the model's reachability


def is_infrastructure(error: BaseException) -> bool:
    """Whether an error says nothing about the program: the model was out of reach, refused the key or is unknown.

    So does a budget that had no room for the call. A request the model refuses for its content or size, or an answer
    it filters, is the program's fault and scores 0.
    """
    if isinstance(error, BudgetExceededError):
        return True
    if not isinstance(error, LMError) or isinstance(error, LMContextWindowError | LMContentFilterError):
        return False
    return error.retryable or error.status not in _REFUSED_REQUEST
