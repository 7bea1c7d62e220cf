"""Who takes part in the next step."""

from types import SimpleNamespace

import numpy as np
import pytest

from minilora.errors import BusyError
from minilora.serving.scheduler import Scheduler


class Slots:
    """A pool with one slot: an adapter finds room when no other has rows."""

    def __init__(self):
        self.holder = None

    def activate(self, lease):
        if lease is not None and self.holder is not None and self.holder is not lease and self.holder.rows:
            return False
        self.holder = lease or self.holder
        return True


class Waiting:
    """What the scheduler reads of a sequence."""

    def __init__(self, length=3, lease=None):
        self.prompt, self.computed, self.row, self.lease, self.overtaken = np.arange(length), 0, -1, lease, 0


def rows(scheduler):
    assert [s.row for s in scheduler.running] == list(range(len(scheduler.running)))
    return scheduler.running


def test_waiting_sequences_begin_in_order_as_rows_are_free():
    scheduler = Scheduler(Slots(), max_rows=2)
    first, second, third = (Waiting() for _ in range(3))
    for s in (first, second, third):
        scheduler.add(s)
    assert [s for s, _ in scheduler.schedule()] == [first, second]
    scheduler.prefilled(first)
    scheduler.remove(first)
    assert third in [s for s, _ in scheduler.schedule()] and rows(scheduler) == [second, third]


def test_a_step_reads_a_bounded_number_of_prompt_tokens():
    scheduler = Scheduler(Slots(), max_rows=4, piece=10)
    for s in (long := Waiting(25), other := Waiting(4)):
        scheduler.add(s)
    assert scheduler.schedule() == [(long, 10)]
    long.computed = 20
    assert scheduler.schedule() == [(long, 5), (other, 4)]


def test_rows_that_answer_stay_together_in_front():
    scheduler = Scheduler(Slots(), max_rows=8)
    a, b, c, d, e = made = [Waiting() for _ in range(5)]
    for s in made:
        scheduler.add(s)
    scheduler.schedule()
    assert scheduler.prefilled(a) == (0, 0) and scheduler.prefilled(c) == (1, 2)
    assert rows(scheduler) == [a, c, b, d, e] and scheduler.answering == 2
    assert scheduler.remove(a) == [(1, 0), (4, 1)]
    assert rows(scheduler) == [c, e, b, d] and scheduler.answering == 1
    assert scheduler.remove(b) == [(3, 2)]
    assert scheduler.remove(d) == []
    assert rows(scheduler) == [c, e]


def test_a_blocked_sequence_is_passed_over_and_stays_in_front():
    scheduler = Scheduler(Slots(), max_rows=3)
    one, two = SimpleNamespace(rows=0), SimpleNamespace(rows=0)
    first, blocked, later = Waiting(lease=one), Waiting(lease=two), Waiting(lease=one)
    for s in (first, blocked, later):
        scheduler.add(s)
    scheduler.schedule()
    assert rows(scheduler) == [first, later] and list(scheduler.waiting) == [blocked]
    for s in (first, later):
        scheduler.remove(s)
    scheduler.schedule()
    assert rows(scheduler) == [blocked] and (one.rows, two.rows) == (0, 1)


def test_nobody_is_passed_over_for_ever():
    scheduler = Scheduler(Slots(), max_rows=2)
    one, two = SimpleNamespace(rows=0), SimpleNamespace(rows=0)
    blocked = Waiting(lease=two)
    scheduler.add(Waiting(lease=one))
    scheduler.schedule()
    scheduler.add(blocked)
    begun = 0
    for _ in range(100):
        scheduler.add(Waiting(lease=one))
        scheduler.schedule()
        begun += 1
        if blocked.row >= 0:
            break
        scheduler.remove(scheduler.running[0])
    assert begun <= scheduler.patience + 2


def test_a_sequence_that_still_waits_can_be_removed():
    scheduler = Scheduler(Slots(), max_rows=1)
    first, second = Waiting(), Waiting()
    scheduler.add(first)
    scheduler.add(second)
    scheduler.schedule()
    assert scheduler.remove(second) == [] and not scheduler.waiting


def test_too_many_that_wait_are_refused():
    scheduler = Scheduler(Slots(), max_rows=1, max_waiting=2)
    scheduler.add(Waiting())
    scheduler.add(Waiting())
    with pytest.raises(BusyError, match="2 requests are waiting"):
        scheduler.add(Waiting())
