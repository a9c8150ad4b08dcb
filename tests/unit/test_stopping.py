"""A signal at the very moment at which the handlers are set ends the process as any other; once they go, none does."""

import os
import signal

import pytest

import worker.__main__
import worker.run
from worker.stopping import Interrupted, stop_on_signals


@pytest.fixture(params=["first", "last"])
def signal_at_the_edge(request, monkeypatch):
    """Send SIGTERM as soon as our handler for it is there, or when the first of those before is put back."""
    real, sent = signal.signal, []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def set_handler(number, handler):
        found = real(number, handler)
        ours = getattr(handler, "__name__", "") == "on_signal"
        if not sent and ours == (request.param == "first") and number == (signal.SIGTERM if ours else signal.SIGINT):
            sent.append(number)
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(signal, "signal", set_handler)
    yield sent
    for number, handler in before.items():
        real(number, handler)
    signal.set_wakeup_fd(-1)


def test_a_one_off_ends_with_143_then_unless_it_had_ended(signal_at_the_edge, request):
    assert worker.run.main(["--version"]) == (143 if "first" in request.node.name else 0)
    assert signal_at_the_edge


def test_the_daemon_ends_with_0_then(signal_at_the_edge):
    assert worker.__main__.main(["--help"]) == 0
    assert signal_at_the_edge


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted), stop_on_signals(lambda number: number):
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
