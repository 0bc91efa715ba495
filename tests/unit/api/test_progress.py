"""The published step of a process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from attrs import define, field

from multus.api import progress
from multus.api.progress import Overdue, raise_if_overdue, step, watched_by


@define
class Notes:
    """A watch that records the published steps, as ``what`` or None."""

    patience: float = 10.0
    shown: list[str | None] = field(factory=list)

    def show(self, current: step | None) -> None:
        self.shown.append(current.what if current is not None else None)


@pytest.fixture
def watch() -> Iterator[Notes]:
    notes = Notes()
    watched_by(notes)
    yield notes
    watched_by(None)


def test_without_a_watch_nothing_happens() -> None:
    with step("a", 0.0) as a, step("b", 1e-9) as b:
        raise_if_overdue()
    assert (a.until, b.until, progress.failed()) == (0.0, 0.0, "")
    with pytest.raises(ZeroDivisionError), step("c"):
        _ = 1 / 0
    assert progress.failed() == ""


def test_steps_nest_and_the_outer_one_is_shown_again(watch: Notes) -> None:
    with step("engine"):
        with step("a"), step("b"):
            pass
        with step("c"):
            pass
    first, *rest = watch.shown
    assert (first, rest) == (
        "engine",
        ["a", "b, within a", "a", "engine, after a", "c", "engine, after c", None],
    )


def test_a_step_has_the_seconds_that_it_says_else_the_watchs_patience(watch: Notes) -> None:
    with step("own", 3.0) as own:
        assert own.until == own.began + 3.0
    with step("patience") as one, step("batch", times=4) as four:
        assert (one.until - one.began, four.until - four.began) == pytest.approx((10.0, 40.0))


@pytest.mark.parametrize("waits", [False, True])
def test_what_happens_inside_does_not_count_for_the_step_around_it(
    watch: Notes, waits: bool
) -> None:
    with step("outer", 5.0) as outer:
        began, until = outer.began, outer.until
        with step("inner", waits=waits):
            time.sleep(0.02)
        assert outer.until - until == pytest.approx(outer.began - began)
        assert 0.02 <= outer.until - until < 1.0


def test_only_the_current_step_is_overdue_and_only_when_its_time_is_up(watch: Notes) -> None:
    raise_if_overdue()
    with step("outer", 1e-6) as outer:
        time.sleep(0.001)
        with step("inner", 5.0):
            raise_if_overdue()
        with pytest.raises(Overdue, match=r"outer.* did not end within 1e-06 s"):
            raise_if_overdue()
        outer.until += 5.0
        raise_if_overdue()
    raise_if_overdue()


def test_a_step_that_is_interrupted_is_left_and_named(watch: Notes) -> None:
    with step("engine", 30.0):
        with pytest.raises(Overdue, match="'slow'"), step("plugin 'slow'", 1e-6):
            time.sleep(0.001)
            raise_if_overdue()
        raise_if_overdue()
    assert progress.failed() == "plugin 'slow'"
    assert watch.shown[-1] is None


def test_the_first_that_failed_is_kept_until_the_next_call(watch: Notes) -> None:
    with step("engine"):
        for name in ("a", "b"):
            with pytest.raises(ValueError, match="no"), step(name):
                raise ValueError("no")
    assert progress.failed() == "a"
    watched_by(watch)
    assert progress.failed() == ""


def test_what_catches_every_exception_does_not_catch_an_interruption() -> None:
    assert not issubclass(Overdue, Exception)
