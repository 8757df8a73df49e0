"""Who has no processor for threads does more in the event loop."""

import pytest

from service.crowding import brief, crowded


@pytest.mark.parametrize(("processors", "alone"), [(4, 1), (4, 3), (2, 1)])
def test_who_has_processors_left_keeps_the_event_loop_for_less_time(monkeypatch, processors: int, alone: int):
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert not crowded(alone)
    assert crowded(processors)
    assert 0 < brief(alone) < brief(processors) == brief(processors + 1) < 0.1


def test_a_machine_that_does_not_say_has_one_processor(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert crowded(1)
