from __future__ import annotations

from typing import Any

import pytest

from multus.daemon.report import Replayed, Report


def test_a_report_is_read() -> None:
    wire = {
        "code": "11",
        "taken": False,
        "stages": [["ADD", "resolve", 0.1]],
        "delegates": [["ADD", "ptp", 1]],
        "journal_errors": 1,
        "cni_dir": "/other",
        "replayed": [{"path": "/p", "outcome": "done", "reason": ""}],
    }
    assert Report.from_wire(wire) == Report(
        code="11",
        taken=False,
        stages=(("ADD", "resolve", 0.1),),
        delegates=(("ADD", "ptp", 1.0),),
        journal_errors=1,
        cni_dir="/other",
        replayed=(Replayed("/p", "done", ""),),
    )


@pytest.mark.parametrize(
    "wire",
    [
        {"code": 7},
        {"stages": 5},
        {"stages": [["ADD", "resolve"]]},
        {"delegates": [["ADD", "ptp", "soon"]]},
        {"delegates": [[{}, "ptp", 1.0]]},
        {"journal_errors": "many"},
        {"journal_errors": None},
        {"replayed": [{}]},
        {"replayed": {"path": "/p"}},
        {"replayed": [["/p"]]},
        {"cni_dir": ["/x"]},
        {"answer": 1},
    ],
)
def test_what_no_worker_sends_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Report.from_wire(wire)


def test_it_costs_little_whatever_it_claims() -> None:
    report = Report.from_wire({"journal_errors": 10**9, "cni_dir": "/" + "x" * 10**6})
    assert report.journal_errors == 1
    assert len(report.cni_dir) < 5000
