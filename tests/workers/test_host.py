"""The host: of several signals that wait for the same step the strongest counts."""

import itertools

import pytest

from webui.contract import Job, Signal
from webui.events import Done, Event
from webui.requests import build
from webui.workers.host import Host


class Asking:
    """An engine that looks at its signals when it is asked for its next event."""

    def __init__(self) -> None:
        self.seen: list[Signal | None] = []

    def run(self, job, signal):
        self.seen += [signal(), signal()]
        yield Done()

    def warm_up(self, checkpoint):
        pass

    def tune(self, tuning):
        pass

    def unload(self):
        pass

    def info(self):
        raise NotImplementedError


@pytest.mark.parametrize("told", list(itertools.permutations(Signal)))
def test_no_order_of_signals_undoes_a_cancel(told):
    engine = Asking()
    host = Host(engine)
    for signal in told:
        host.signal("job", signal)
    events: list[Event] = list(host.run(Job(id="job", request=build("txt2img", {}))))
    assert engine.seen == [Signal.CANCEL, Signal.CANCEL]
    assert isinstance(events[-1], Done)


def test_a_skip_does_not_undo_a_pause_and_is_taken_once():
    engine = Asking()
    host = Host(engine)
    host.signal("job", Signal.PAUSE)
    host.signal("job", Signal.SKIP)
    list(host.run(Job(id="job", request=build("txt2img", {}))))
    host.signal("job", Signal.SKIP)
    list(host.run(Job(id="job", request=build("txt2img", {}))))
    assert engine.seen == [Signal.PAUSE, Signal.PAUSE, Signal.SKIP, None]
