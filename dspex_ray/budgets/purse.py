"""What one process may spend of a budget in one window: lent from the book, taken by its calls."""

from __future__ import annotations

from threading import Lock
from typing import Final

from dspex_ray.budgets.amounts import NOTHING, Amounts
from dspex_ray.budgets.book import Slice, TakeSlice

_MOST_AHEAD: Final = 256


class Purse:
    """Amounts granted, reserved and spent since this process began. Safe for threads; asks nobody itself.

    While an ask is under way nothing but what it tells as held may be spent: the answer may take the rest back.
    """

    def __init__(self, scope: str, name: str, window: float, holder: str) -> None:
        self.scope, self.name, self.window, self.holder = scope, name, window, holder
        self._granted = self._reserved = self._spent = NOTHING
        self._told = NOTHING
        self._ahead = 1
        self._asking = self._used = False
        self._lock = Lock()

    def reserve(self, most: Amounts) -> bool:
        """Set the most that a call may take aside, if that is there."""
        with self._lock:
            held = self._spent + self._reserved
            if not most.fits(self._granted - held):
                return False
            self._reserved += most
            self._used = True
            return True

    def settle(self, most: Amounts, taken: Amounts) -> None:
        """Put what a call did not take back and count what it took."""
        with self._lock:
            self._reserved -= most
            self._spent += taken
            self._used = True

    def ask(self, need: Amounts) -> TakeSlice | None:
        """Return what to ask the lender; None while another ask is under way. `lent` or `unanswered` must follow."""
        with self._lock:
            if self._asking:
                return None
            self._asking = True
            self._granted = self._spent + self._reserved
            self._ahead = min(_MOST_AHEAD, self._ahead * 2) if self._used else max(1, self._ahead // 2)
            self._used, self._told = False, self._spent
            return TakeSlice(
                scope=self.scope,
                name=self.name,
                window=self.window,
                holder=self.holder,
                spent=self._spent,
                reserved=self._reserved,
                need=need,
                ahead=self._ahead,
            )

    def lent(self, found: Slice) -> None:
        """Take the answer of the last ask."""
        with self._lock:
            self._asking, self._granted = False, found.granted

    def unanswered(self) -> None:
        """Note that the last ask got no answer: nothing but what it told as held may be spent."""
        with self._lock:
            self._asking = False

    def has_news(self) -> bool:
        """Whether the book should hear of it: it holds more than its calls do, or has not told what they took."""
        with self._lock:
            unused = self._granted - self._spent - self._reserved
            holds_more = unused.usd > 0 or unused.calls > 0 or unused.tokens > 0
            return not self._asking and (holds_more or self._told != self._spent)
