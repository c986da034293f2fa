"""Dead letters in the memory of one agent: which are kept, which are to be sent again and when. Pure."""

from __future__ import annotations

import pickle
import random
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dspex_agents.errors import SpecError
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetterFilter
from dspex_agents.services.dead_letter_messages import LostMessage
from dspex_agents.services.json_body import from_json, json_problem, preview, to_json
from dspex_agents.services.retry_policy import RetryPolicy

_MOST_BYTES = 1_000_000
_MOST_REASON = 1000


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """One letter. Its message is in `json`, or else in `pickled`, or else only a preview of it is left.

    `redrives` counts the times it was sent again from here, `due_at` is when it will be by itself (seconds since the
    epoch; None: not any more). `letter.message` is None.
    """

    letter: DeadLetter
    preview: str
    kept_at: float
    json: str | None = None
    pickled: bytes | None = None
    redrives: int = 0
    due_at: float | None = None
    under_way: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether the message is still there."""
        return self.json is not None or self.pickled is not None

    def message(self) -> Any:
        """Return the message as it was, or what is left of it."""
        if self.json is not None:
            return from_json(self.json)
        if self.pickled is not None:
            return pickle.loads(self.pickled)  # noqa: S301 - bytes that this process has made itself
        return LostMessage(self.preview)

    def shown(self) -> DeadLetter:
        """Return the letter with its message."""
        return replace(self.letter, message=self.message())


class LetterBook:
    """At most `size` letters, oldest first; for a new one the oldest is dropped. Times and ids are passed in.

    `retry` says when, and how often, letters are sent again by themselves; None means never.
    """

    def __init__(self, size: int, retry: RetryPolicy | None, rng: random.Random) -> None:
        if size < 1:
            raise SpecError(f"dead letters: size must be at least 1, got {size}.")
        self._size, self._retry, self._rng = size, retry, rng
        self._kept: OrderedDict[str, KeptLetter] = OrderedDict()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, letter: DeadLetter, id_: str, now: float) -> tuple[KeptLetter, KeptLetter | None]:
        """Keep a letter under an id; return it, and the one that was dropped for it, if any."""
        kept = _kept(letter, id_, now)
        kept = replace(kept, due_at=self._due_at(kept, now))
        dropped = None
        if len(self._kept) >= self._size:
            _, dropped = self._kept.popitem(last=False)
            self.dropped += 1
        self._kept[id_] = kept
        return kept, dropped

    def restore(self, letters: Iterable[KeptLetter]) -> tuple[KeptLetter, ...]:
        """Take in the letters of an earlier life, oldest first; return those for which there is no room, counted."""
        every = list(letters)
        dropped = every[: max(0, len(every) - self._size)]
        self._kept.update((kept.letter.id, kept) for kept in every[len(dropped) :])
        self.dropped += len(dropped)
        return tuple(dropped)

    def entries(self, which: DeadLetterFilter, limit: int | None = None) -> tuple[KeptLetter, ...]:
        """Return the letters meant, oldest first, at most `limit`."""
        found = tuple(kept for kept in self._kept.values() if which.matches(kept.letter))
        return found if limit is None else found[:limit]

    def take(self, which: DeadLetterFilter, limit: int) -> tuple[tuple[KeptLetter, ...], tuple[str, ...]]:
        """Return the letters meant that are to be sent now, and the ids of those that cannot be."""
        meant = [kept for kept in self.entries(which) if not kept.under_way]
        unreadable = tuple(kept.letter.id for kept in meant if not kept.is_readable)
        return self._begin([kept for kept in meant if kept.is_readable][:limit]), unreadable

    def due(self, now: float) -> tuple[KeptLetter, ...]:
        """Return the letters that are to be sent now by themselves."""
        due = [kept for kept in self._kept.values() if kept.due_at is not None and kept.due_at <= now]
        return self._begin([kept for kept in due if not kept.under_way and kept.is_readable])

    def next_at(self) -> float | None:
        """Return when the next letter is due."""
        times = (kept.due_at for kept in self._kept.values() if not kept.under_way and kept.is_readable)
        return min((at for at in times if at is not None), default=None)

    def failed(self, id_: str, reason: str, now: float, *, tried: bool) -> KeptLetter | None:
        """Note that sending it failed (`tried`: the agent may have seen it); return it, None when it is gone."""
        kept = self._kept.get(id_)
        if kept is None:
            return None
        attempts = kept.letter.attempts + tried
        letter = replace(kept.letter, reason=reason[:_MOST_REASON], attempts=attempts, last_failure_at=now)
        kept = replace(kept, letter=letter, redrives=kept.redrives + 1, under_way=False)
        self._kept[id_] = kept = replace(kept, due_at=self._due_at(kept, now))
        return kept

    def remove(self, ids: Iterable[str]) -> int:
        """Forget letters; return how many there were."""
        return sum(self._kept.pop(id_, None) is not None for id_ in ids)

    def counts(self) -> dict[str, int]:
        """Return how many letters there are of each kind that matters to whoever looks after them."""
        every = self._kept.values()
        return {
            "kept": len(self._kept),
            "under_way": sum(kept.under_way for kept in every),
            "unreadable": sum(not kept.is_readable for kept in every),
            "given_up": sum(kept.redrives > 0 and kept.due_at is None for kept in every) if self._retry else 0,
            "dropped": self.dropped,
        }

    def _begin(self, letters: Iterable[KeptLetter]) -> tuple[KeptLetter, ...]:
        begun = tuple(replace(kept, under_way=True) for kept in letters)
        self._kept.update((kept.letter.id, kept) for kept in begun)
        return begun

    def _due_at(self, kept: KeptLetter, now: float) -> float | None:
        if self._retry is None or not kept.is_readable:
            return None
        delay_s = self._retry.next_delay_s(kept.redrives + 1, now - kept.kept_at, self._rng)
        return None if delay_s is None else now + delay_s


def _kept(letter: DeadLetter, id_: str, now: float) -> KeptLetter:
    """Put the message away: as JSON where that loses nothing, else pickled, unless it is too large for that."""
    text, pickled = None, None
    if json_problem(letter.message) is None:
        text = to_json(letter.message)
    else:
        try:
            pickled = pickle.dumps(letter.message)
            pickle.loads(pickled)  # noqa: S301 - the bytes of the line before: some objects pickle but do not come back
        except Exception:  # noqa: BLE001 - a stranger's object may break pickling in any way; its preview is kept
            pickled = None
    if text is not None and len(text) > _MOST_BYTES:
        text = None
    if pickled is not None and len(pickled) > _MOST_BYTES:
        pickled = None
    own = replace(letter, id=id_, message=None, reason=letter.reason[:_MOST_REASON])
    return KeptLetter(own, preview(letter.message), now, text, pickled)
