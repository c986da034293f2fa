"""`ModelSource`: where a program's model comes from, and the client made for it."""

from __future__ import annotations

from dspex_ray.configuration import checked_lm, chosen_lm
from dspex_ray.lm.base import LM
from dspex_ray.lm.resolve import resolve_lm


class ModelSource:
    """One model for a program and its copies: a name, a client the user made, or the process's default.

    A client made here from a name is closed by `aclose`; one the user made is the user's to close. Pickles without
    the client it made. Raises ConfigurationError for what is neither a name nor a client.
    """

    def __init__(self, own: str | LM | None = None) -> None:
        self.own = checked_lm(own)
        self._made: LM | None = None
        self._made_from: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the program's own model; None if it uses the process's default."""
        return self.own if self.own is None or isinstance(self.own, str) else self.own.model

    def client(self) -> LM:
        """Return the client, made on first use and again after the process's default changed or `aclose`.

        Raises UnknownNameError or ConfigurationError for a name that is not known or cannot be used.
        """
        chosen = chosen_lm(self.own)
        if not isinstance(chosen, str):
            return chosen
        if self._made is None or self._made_from != chosen:
            self._made, self._made_from = resolve_lm(chosen), chosen
        return self._made

    async def aclose(self) -> None:
        """Close the client made here, if any; the next use makes a new one."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()

    def __getstate__(self) -> dict[str, object]:
        return {"own": self.own, "_made": None, "_made_from": None}
