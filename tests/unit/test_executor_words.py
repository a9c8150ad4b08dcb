"""Tasks handed out: their results in order, how those that are lost are told; and calls made one ahead of their use."""

import contextlib
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from worker import executors
from worker.executors import InOrder, LostShardsError, one_ahead


class Silent(Executor):
    """Takes everything and does nothing, as a cluster whose workers are gone."""

    def submit(self, *_, **__):
        return Future()


def work(number):
    """Fail as a task may: with an error, or with one that a wait might have raised as well."""
    if number == 1:
        raise TimeoutError
    if number == 2:
        raise ValueError
    return number


def test_a_task_that_ends_with_a_timeout_is_lost_and_not_waited_for():
    asked = []
    with ThreadPoolExecutor(1) as executor:
        results = InOrder(executor, work, range(5), 2, lambda: asked.append(1) is None and len(asked) < 100)
        assert list(results) == [0, None, None, 3, 4]
    assert asked == []
    assert results.lost == ["TimeoutError", "ValueError"]


def test_a_cluster_without_workers_is_waited_for_once_and_not_once_a_task(monkeypatch):
    monkeypatch.setattr(executors, "LOST_SECONDS", 0.05)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.01)
    asked = []
    results = InOrder(Silent(), work, range(50), 4, lambda: bool(asked.append(1)))
    assert list(results) == [None] * 50
    assert len(asked) <= 6
    with pytest.raises(LostShardsError, match=r"50 share\(s\) .*no process is left to work on it"):
        results.ensure_none_lost()


def test_the_next_call_is_made_while_the_last_result_is_used():
    begun = [threading.Event() for _ in range(3)]
    calls = [lambda number=number: begun[number].set() or number for number in range(3)]
    found = []
    for result in one_ahead(calls):
        assert result == 2 or begun[result + 1].wait(10)
        assert result != 0 or not begun[2].wait(0.05)  # one ahead, and no more: what it gives has to be kept somewhere
        found.append(result)
    assert found == [0, 1, 2]


def test_a_call_that_fails_is_told_in_its_turn_and_no_other_is_made_after():
    made = []
    with contextlib.closing(
        one_ahead([lambda: made.append(0), lambda: 1 / 0, *[lambda: made.append(2)] * 3])
    ) as results:
        assert next(results) is None
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert made.count(2) <= 1


def test_no_calls_no_results():
    assert list(one_ahead([])) == []
