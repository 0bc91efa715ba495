"""A run of the benchmark takes minutes: what was measured is not lost."""

from __future__ import annotations

import pytest

from bench.run import Part, run_all


def test_a_part_that_fails_is_named_and_the_others_are_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[str] = []

    def fail() -> None:
        raise RuntimeError("the peer does not answer")

    parts = [Part("the first", fail), Part("the second", lambda: measured.append("second"))]
    assert run_all(parts) == ["the first"]
    assert measured == ["second"]
    said = capsys.readouterr().err
    assert "1/2 the first" in said and "2/2 the second" in said
    assert "the peer does not answer" in said
