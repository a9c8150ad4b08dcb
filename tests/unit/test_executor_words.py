"""Tasks handed out: their results in order, how those that are lost are told; and calls made one ahead of their use."""

import contextlib
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from worker import executors
from worker.executors import InOrder, LocalExecutor, LostShardsError, OneThread, results_ahead


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


@pytest.fixture
def thread():
    with OneThread() as executor:
        yield executor


class Calls:
    """Calls that give their number, and tell when they are made."""

    def __init__(self, number):
        self.begun = [threading.Event() for _ in range(number)]

    def __iter__(self):
        for number, event in enumerate(self.begun):
            yield lambda number=number, event=event: event.set() or number


@pytest.mark.parametrize("most", [1, 2])
def test_the_next_calls_are_made_while_the_last_result_is_used(thread, most):
    calls, found = Calls(5), []
    for result in results_ahead(thread, calls, most):
        assert all(event.wait(10) for event in calls.begun[: result + most + 1])
        # and no more: what they give has to be kept somewhere
        assert not any(event.wait(0.02) for event in calls.begun[result + most + 1 :])
        found.append(result)
    assert found == [0, 1, 2, 3, 4]


def test_none_ahead_is_one_after_the_other():
    calls = Calls(3)
    for result in results_ahead(LocalExecutor(), calls, 0):
        assert [event.is_set() for event in calls.begun] == [number <= result for number in range(3)]


def test_what_comes_then_is_called_once_all_are_submitted(thread):
    done = []
    assert list(results_ahead(thread, Calls(2), 1, lambda: done.append(thread.submit(len, "abc").result()))) == [0, 1]
    assert done == [3]
    assert list(results_ahead(thread, [], 1, lambda: done.append("none"))) == []
    assert done == [3, "none"]


def test_what_was_begun_before_comes_first(thread):
    begun = [thread.submit(lambda n=n: f"begun {n}") for n in range(2)]
    assert list(results_ahead(thread, Calls(2), 1, begun=begun)) == ["begun 0", "begun 1", 0, 1]
    assert list(results_ahead(thread, [], 1, begun=[thread.submit(len, "ab")])) == [2]


def test_a_call_that_fails_is_told_in_its_turn_and_those_after_it_are_called_off(thread):
    made, gate = [], threading.Event()
    calls = [lambda: made.append(0), lambda: 1 / 0, gate.wait, *[lambda: made.append(3)] * 3]
    with contextlib.closing(results_ahead(thread, calls, 2)) as results:
        assert next(results) is None
        with pytest.raises(ZeroDivisionError):
            next(results)
    gate.set()
    assert thread.submit(len, made).result() == 1


def test_the_thread_tells_what_was_raised_and_goes_on(thread):
    def interrupted():
        raise KeyboardInterrupt

    failed, worked = thread.submit(interrupted), thread.submit(len, "ab")
    with pytest.raises(KeyboardInterrupt):
        failed.result()
    assert worked.result() == 2


def test_a_closed_thread_does_no_more_of_what_it_was_given():
    thread, gate = OneThread(), threading.Event()
    at_it, waiting = thread.submit(gate.wait, 10), thread.submit(len, "ab")
    while not at_it.running():
        time.sleep(0.001)
    thread.shutdown(cancel_futures=True)
    gate.set()
    assert at_it.result() is True
    assert waiting.cancelled()


def test_threads_take_turns_more_often_while_there_is_one_beside():
    before = sys.getswitchinterval()
    with OneThread() as thread:
        assert sys.getswitchinterval() == before
        assert thread.submit(sys.getswitchinterval).result() < before
    assert sys.getswitchinterval() == before
