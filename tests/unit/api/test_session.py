from __future__ import annotations

import time

import pytest

from multus.testing.session import new_session


class TestRemaining:
    def test_without_a_deadline_it_is_all_that_is_asked_for(self) -> None:
        assert new_session().remaining(60.0) == 60.0
        assert new_session().remaining() == float("inf")

    def test_it_is_never_more_than_until_the_deadline(self) -> None:
        session = new_session(deadline=time.monotonic() + 5.0)
        assert 0.0 < session.remaining(60.0) <= 5.0
        assert session.remaining(1.0) == 1.0

    def test_it_is_never_negative(self) -> None:
        session = new_session(deadline=time.monotonic() - 5.0)
        assert session.remaining(60.0) == session.remaining() == 0.0


class TestOnce:
    def test_it_is_computed_once_even_when_it_is_none(self) -> None:
        session, asked = new_session(), list[str]()

        def make() -> str | None:
            asked.append("x")
            return None

        assert session.once("a", make) is session.once("a", make) is None
        assert asked == ["x"]
        session.once("b", make)
        assert asked == ["x", "x"]

    def test_another_session_computes_its_own(self) -> None:
        one, other = new_session(), new_session()
        assert one.once("a", lambda: 1) == 1
        assert other.once("a", lambda: 2) == 2

    def test_what_fails_is_tried_again(self) -> None:
        session = new_session()

        def fail() -> int:
            raise KeyError("gone")

        with pytest.raises(KeyError):
            session.once("a", fail)
        assert session.once("a", lambda: 1) == 1


def test_what_is_left_open_is_closed_at_its_end() -> None:
    closed: list[str] = []
    with new_session() as session:
        session.closing.callback(closed.append, "first")
        session.closing.callback(closed.append, "last")
        assert closed == []
    assert closed == ["last", "first"]
