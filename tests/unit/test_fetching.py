"""Two connections work off what is asked for between them, and whoever asked is told how each piece went."""

import contextlib
import threading
import time
from collections import deque

import pytest

from worker import fetching


class Rows:
    """Stands for the database: by statement what it answers, and which connection was asked."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.slow = {}  # statement -> an event that it waits for
        self.begun = threading.Event()  # one of those has begun
        monkeypatch.setattr(fetching, "fetch_row", self.fetch)

    def fetch(self, conn, statement, parameters):
        self.asked.append((conn, statement))
        if statement in self.slow:
            self.begun.set()
            assert self.slow[statement].wait(10)
        if statement == "bad":
            raise ValueError(statement)
        return deque([statement, parameters["seed"]])


class Second:
    """A second connection whose statement ends when it is called off."""

    def __init__(self, statement=None):
        self.statement, self.times = statement, 0

    def cancel_safe(self, timeout):
        assert timeout > 0
        assert self.statement is not None, "nothing was under way"
        self.times += 1
        self.statement.set()


@pytest.fixture
def rows(monkeypatch):
    return Rows(monkeypatch)


def opened(second):
    return fetching.fetching("first", None if second is None else lambda _: contextlib.nullcontext(second))


def test_each_row_comes_with_its_number_whoever_fetched_it(rows):
    for second in (None, Second()):
        rows.asked.clear()
        parameters = {"seed": 1}
        with opened(second) as both:
            asked = both.ask([f"a{i}" for i in range(20)], parameters)
            parameters["seed"] = 2  # is that of what is asked for from now on
            more = both.ask(["b0", "b1"], parameters, before_others=True)
            assert dict(both.finished(more)) == {0: deque(["b0", 2]), 1: deque(["b1", 2])}
            assert dict(both.finished(asked)) == {i: deque([f"a{i}", 1]) for i in range(20)}
        assert sorted(statement for _, statement in rows.asked) == sorted([*(f"a{i}" for i in range(20)), "b0", "b1"])
        assert {conn for conn, _ in rows.asked} <= {"first", second}


def test_while_one_is_long_about_it_the_other_does_the_rest(rows):
    rows.slow["long"] = threading.Event()
    with opened(Second()) as both:
        asked = both.ask(["long", "a", "b"], {"seed": 0})
        assert rows.begun.wait(10)
        found = both.finished(asked)
        assert [next(found)[0], next(found)[0]] == [1, 2]
        assert {statement: conn == "first" for conn, statement in rows.asked} == {"long": False, "a": True, "b": True}
        rows.slow["long"].set()
        assert next(found)[0] == 0


def test_an_error_is_the_askers_and_what_was_forgotten_is_not_fetched(rows):
    with opened(Second()) as both, pytest.raises(ValueError, match="bad"):
        list(both.finished(both.ask(["bad"], {"seed": 0})))
    with opened(None) as both:
        both.ask(["never"], {"seed": 0})
        both.forget()
        assert [row for _, row in both.finished(both.ask(["then"], {"seed": 0}))] == [deque(["then", 0])]
    assert "never" not in {statement for _, statement in rows.asked}


def test_nobody_is_left_at_work_when_the_block_ends(rows):
    rows.slow["long"] = threading.Event()
    second = Second(rows.slow["long"])
    with opened(second) as both:
        both.ask(["long", "never"], {"seed": 0})
        assert rows.begun.wait(10)
    assert second.times >= 1
    assert [statement for _, statement in rows.asked] == ["long"]


def test_of_a_failed_transaction_the_first_error_is_told_and_at_once(rows):
    """What it is asked next would only say that it is aborted."""
    rows.slow["bad"] = threading.Event()
    with opened(second := Second(rows.slow["bad"])) as both:
        both.ask(["bad"], {"seed": 0})
        assert rows.begun.wait(10)
        rows.slow["bad"].set()
        asked = both.ask([f"a{i}" for i in range(1000)], {"seed": 0}, before_others=True)
        found = (time.sleep(0.001) for _ in both.finished(asked))
        with pytest.raises(ValueError, match="bad"):
            deque(found, maxlen=0)
    assert [statement for conn, statement in rows.asked if conn is second] == ["bad"]
    assert len(rows.asked) < 900


def test_nothing_asked_for_is_nothing_found(rows):
    with opened(Second()) as both:
        assert list(both.finished(both.ask([], {}))) == []
    assert rows.asked == []
