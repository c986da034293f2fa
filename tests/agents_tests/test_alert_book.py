"""The alert book as a table: an alert opens once, is told, acknowledged, and resolves by itself."""

from __future__ import annotations

import pytest

from dspex_agents.monitoring.alert import Alert, Severity
from dspex_agents.monitoring.alert_book import AlertBook, AlertRules, UnknownAlertError


def alert(id_: str, severity: Severity = "warning", current: float = 1.0) -> Alert:
    return Alert(id_, "kind", severity, "a", f"{id_} is wrong", current, 0.5, "mend it")


def told(book: AlertBook, now: float, *found: Alert) -> list[tuple[str, str]]:
    return [(event.what, event.entry.alert.id) for event in book.observe(found, now)]


def states(book: AlertBook) -> list[tuple[str, str, int]]:
    return [(entry.alert.id, entry.state, entry.seen) for entry in book.open()]


def test_one_trouble_seen_in_ten_samples_is_one_alert_told_once() -> None:
    book = AlertBook()
    assert told(book, 0, alert("x")) == [("triggered", "x")]
    for n in range(1, 10):
        assert told(book, 5.0 * n, alert("x", current=n)) == []
    (entry,) = book.open()
    assert (entry.since, entry.seen, entry.last_seen_at, entry.alert.current) == (0, 10, 45, 9)


def test_two_alerts_of_one_id_in_one_sample_are_one() -> None:
    book = AlertBook()
    assert told(book, 0, alert("x"), alert("x", "critical")) == [("triggered", "x")]
    assert states(book) == [("x", "open", 1)]
    assert book.open()[0].alert.severity == "critical"


def test_an_alert_resolves_only_after_some_samples_without_it() -> None:
    book = AlertBook(AlertRules(clear_after=2))
    told(book, 0, alert("x"))
    assert told(book, 5) == []
    assert states(book) == [("x", "open", 1)]
    assert told(book, 10, alert("x")) == []  # back before it was over: the same one goes on
    assert told(book, 15) == []
    assert told(book, 20) == [("resolved", "x")]
    assert len(book) == 0
    (past,) = book.history(10)
    assert (past.state, past.since, past.resolved_at, past.seen) == ("resolved", 0, 20, 2)


def test_an_acknowledged_alert_says_who_and_when_and_stays_so_until_it_resolves() -> None:
    book = AlertBook(AlertRules(cooldown_s=10))
    told(book, 0, alert("x"))
    entry, is_news = book.acknowledge("x", "ann", 7, "on it")
    assert (entry.acknowledged_by, entry.acknowledged_at, entry.note, is_news) == ("ann", 7, "on it", True)
    again, is_news = book.acknowledge("x", "bob", 8)
    assert (again.acknowledged_by, is_news) == ("ann", False)
    assert told(book, 100, alert("x")) == []
    assert states(book) == [("x", "acknowledged", 2)]
    told(book, 105)
    assert told(book, 110) == [("resolved", "x")]
    assert book.history(1)[0].acknowledged_by == "ann"
    assert told(book, 200, alert("x")) == [("triggered", "x")]
    assert states(book) == [("x", "open", 1)]


def test_an_alert_that_is_not_open_cannot_be_acknowledged() -> None:
    book = AlertBook()
    told(book, 0, alert("y"))
    with pytest.raises(UnknownAlertError, match=r"No open alert 'x'\. Open: y\."):
        book.acknowledge("x", "ann", 1)


def test_an_open_alert_is_told_again_after_the_cooldown_until_it_is_acknowledged() -> None:
    book = AlertBook(AlertRules(cooldown_s=300))
    times = [now for now in range(0, 1000, 50) if told(book, now, alert("x"))]
    assert times == [0, 300, 600, 900]
    book.acknowledge("x", "ann", 1000)
    assert not any(told(book, now, alert("x")) for now in range(1000, 3000, 50))


def test_an_alert_that_flaps_is_open_but_told_no_more_than_once_a_cooldown() -> None:
    book = AlertBook(AlertRules(clear_after=1, cooldown_s=300))
    events = []
    for now in range(0, 600, 10):
        is_on = now % 20 == 0
        events += [(now, *event) for event in told(book, now, *([alert("x")] if is_on else []))]
        assert bool(book.open()) is is_on
    assert events == [(0, "triggered", "x"), (10, "resolved", "x"), (300, "triggered", "x"), (310, "resolved", "x")]
    assert len(book.history(1000)) == 30


def test_without_a_cooldown_an_open_alert_is_told_at_every_sample() -> None:
    book = AlertBook(AlertRules(cooldown_s=0))
    assert [bool(told(book, now, alert("x"))) for now in range(3)] == [True] * 3


def test_the_cooldown_of_one_alert_holds_back_no_other() -> None:
    book = AlertBook()
    told(book, 0, alert("x"))
    assert told(book, 1, alert("x"), alert("y")) == [("triggered", "y")]


def test_a_clock_that_is_set_back_does_not_silence_alerts_for_ever() -> None:
    book = AlertBook()
    told(book, 10_000, alert("x"))
    assert told(book, 500, alert("x")) == [("triggered", "x")]


def test_the_history_is_bounded_and_gives_the_latest() -> None:
    book = AlertBook(AlertRules(clear_after=1, history=3))
    for n in range(10):
        told(book, 2 * n, alert(f"x{n}"))
        told(book, 2 * n + 1)
    assert [entry.alert.id for entry in book.history(100)] == ["x7", "x8", "x9"]
    assert [entry.alert.id for entry in book.history(2)] == ["x8", "x9"]
    assert book.history(0) == ()


def test_open_alerts_are_bounded_and_what_found_no_room_is_counted() -> None:
    book = AlertBook(AlertRules(max_open=3))
    told(book, 0, *(alert(f"x{n}") for n in range(5)))
    assert (len(book), book.refused) == (3, 2)
    told(book, 5, alert("x0"))
    assert book.refused == 0


def test_critical_alerts_take_the_places_of_warnings_and_never_of_each_other() -> None:
    book = AlertBook(AlertRules(max_open=3))
    told(book, 0, *(alert(f"w{n}") for n in range(3)))
    told(book, 5, *(alert(f"w{n}") for n in range(3)), alert("c0", "critical"))
    assert sorted(id_ for id_, *_ in states(book)) == ["c0", "w0", "w1"]
    assert book.refused == 1
    told(book, 10, *(alert(f"c{n}", "critical") for n in range(5)))
    assert sorted(id_ for id_, *_ in states(book)) == ["c0", "c1", "c2"]
    assert book.refused == 2


def test_what_was_told_is_forgotten_with_the_cooldown() -> None:
    book = AlertBook(AlertRules(clear_after=1, cooldown_s=10))
    for n in range(100):
        told(book, 20 * n, alert(f"x{n}"))
    assert len(book._told_at) <= 2
