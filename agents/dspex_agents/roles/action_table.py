"""`ActionTable`: the actions that one agent may run, by name, and which signals lead to which of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from dspex_agents.actions.action import Action, AnyAction
from dspex_agents.actions.action_call import ActionCall, Order
from dspex_agents.actions.instruction import Instruction
from dspex_agents.errors import SpecError
from dspex_agents.roles.foundation_messages import NoRouteError, UnknownActionError
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_messages import SignalDelivery
from dspex_agents.signals.signal_router import SignalRoute, SignalRouter

ActionLike = AnyAction | type[AnyAction]


class ActionTable:
    """Raises SpecError, when made, for what is no action, a name used twice, and a route that leads to none of them."""

    def __init__(self, owner: str, actions: Iterable[ActionLike], routes: Sequence[SignalRoute[str]] = ()) -> None:
        self._owner = owner
        self._actions: dict[str, AnyAction] = {}
        for given in actions:
            action = _instance(owner, given)
            if action.name in self._actions:
                raise SpecError(f"{owner}: two actions are named {action.name!r}; give each a name of its own.")
            self._actions[action.name] = action
        for route in routes:
            if route.target not in self._actions:
                raise SpecError(
                    f"{owner}: route {route.pattern!r} leads to no action of {self._told()}: {route.target!r}."
                )
        self._router = SignalRouter(routes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the actions, as given."""
        return tuple(self._actions)

    def instruction(self, order: Order) -> Instruction:
        """Return the order with the agent's own instance of the action. Raises UnknownActionError."""
        name = order.action if isinstance(order, ActionCall) else order.action.name
        own = self._actions.get(name)
        if own is None:
            raise UnknownActionError(f"{self._owner} has no action {name!r}. It has: {self._told()}.")
        if isinstance(order, ActionCall):
            return Instruction(own, order.params, order.context, order.timeout_s, order.id)
        if type(order.action) is not type(own):
            raise UnknownActionError(
                f"{self._owner} has another action of the name {name!r}: {type(own).__qualname__}."
            )
        return replace(order, action=own)

    def routed(self, delivery: SignalDelivery) -> tuple[Instruction, ...]:
        """Return what the signal leads to, in the router's order, its data being the parameters. Raises NoRouteError.

        Raises SpecError for data that are no JSON object.
        """
        signal = delivery.signal
        routes = self._router.match(signal.type)
        if not routes:
            patterns = ", ".join(repr(route.pattern) for route in self._router.routes) or "none"
            raise NoRouteError(f"{self._owner} has no route for signals of type {signal.type!r}. It has: {patterns}.")
        params, context = _params(signal), {"signal": signal, "delivery": delivery}
        return tuple(Instruction(self._actions[r.target], params, context, id=signal.id) for r in routes)

    def _told(self) -> str:
        return ", ".join(self._actions) or "none"


def _instance(owner: str, given: Any) -> AnyAction:
    if isinstance(given, Action):
        return given
    if not (isinstance(given, type) and issubclass(given, Action)):
        raise SpecError(f"{owner}: actions must be Action classes or instances, got {given!r}.")
    try:
        return given()
    except TypeError as error:
        raise SpecError(f"{owner}: action {given.__qualname__} cannot be made without arguments ({error}).") from error


def _params(signal: Signal) -> Any:
    return {} if signal.data is None else signal.data
