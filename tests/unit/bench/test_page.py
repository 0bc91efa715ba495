"""The benchmark's pages: made of the report alone, and honest about what is not reached."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from bench import page
from bench.burst import Burst
from bench.report import Report
from bench.rounds import Figure
from bench.sandboxes import CLUSTER_RANGE, ONE, WHEREABOUTS, Start

OURS = "three networks, in-process"
REPORT = Report(
    machine="two cores",
    peers=["Peer"],
    sandboxes=[
        Start(ONE, 15, 0.8, 0.9, 1.0),
        Start(OURS, 15, 0.6, 0.7, 0.75),
        Start("three networks, Peer", 15, 1.6, 1.8, 2.0),
    ],
    bursts=[Burst("in-process", 153 << 20, 0.015)],
    figures=[
        Figure("ptp", "direct exec", 1, 0.010, 0.020, 1.0, 1.0),
        Figure("ptp", "in-process, C shim", 1, 0.004, 0.010, 0.40, 0.5),
        Figure("ptp", "in-process, C shim, API", 1, 0.006, 0.010, 0.60, 0.5),
        Figure("ptp", "Peer", 1, 0.020, 0.030, 2.0, 1.5),
    ],
)


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    page.write(REPORT, tmp_path)
    again = Report.read(tmp_path / "bench.json")
    assert again == REPORT
    for name, text in page.pages(again).items():
        assert (tmp_path / name).read_text() == text


def test_one_sentence_and_one_picture_say_what_a_pod_waits_for() -> None:
    assert page.headline(REPORT) == (
        "**Of 15 pods that start at once, one with three networks starts in 0.60 s; with one"
        " network and no Multus in 0.80 s.** With three through Peer it starts in 1.60 s.\n"
    )
    title, bars = page.picture(REPORT)
    assert "15 at once" in title
    assert [(each.label, each.seconds, each.kind) for each in bars] == [
        (ONE, 0.8, "base"),
        (OURS, 0.6, "ours"),
        ("three networks, Peer", 1.6, "other"),
    ]


def test_the_bars_are_as_long_as_their_seconds() -> None:
    drawn = page.pages(REPORT)["bench.svg"]
    for seconds in (0.8, 0.6, 1.6):
        assert f'width="{400 * seconds / 1.6:.0f}" height="30"' in drawn


def test_without_a_container_runtime_an_add_is_shown() -> None:
    report = evolve(REPORT, sandboxes=[])
    title, bars = page.picture(report)
    assert title == "ADD of 1 network (ptp)"
    assert [each.label for each in bars] == ["direct exec", "in-process, C shim, API", "Peer"]
    assert page.headline(report).startswith(title)


def test_an_aim_is_bold_when_it_is_reached() -> None:
    lines = page.pages(REPORT)["bench-aims.md"].splitlines()
    assert "| ptp | no API | **0.40**, ≤ 0.40 |  |  |  |" in lines
    assert "| ptp | API and status | 0.60, ≤ 0.55 |  |  |  |" in lines
    assert any("**0.75** | ≤ 1.0 |" in line for line in lines)


def test_a_range_of_the_cluster_has_a_sentence_and_aims_but_no_bar() -> None:
    clustered = [Start(CLUSTER_RANGE, 15, 0.84, 0.9, 1.05), Start(WHEREABOUTS, 15, 4.2, 5.0, 5.25)]
    report = evolve(REPORT, sandboxes=[*REPORT.sandboxes, *clustered])
    pages = page.pages(report)
    assert pages["bench.svg"] == page.pages(REPORT)["bench.svg"]
    assert pages["bench-whereabouts.md"] == (
        "Of 15 pods that start at once, one with such a network beside its node's default starts"
        " in 0.84 s, 1.05 times as long as one that has the default network alone, without Multus"
        " (0.80 s). With the binary for IPAM it starts in 4.20 s. All 15 run after 0.90 s, with"
        " the binary after 5.00 s.\n"
    )
    assert "**1.05** | ≤ 1.1 |" in pages["bench-aims.md"]
    assert "one pod | **5.0** | ≥ 2 |" in pages["bench-aims.md"]
    assert "until all run | **5.6** | ≥ 2 |" in pages["bench-aims.md"]


def test_a_report_without_a_range_of_the_cluster_says_nothing_of_it() -> None:
    assert page.pages(REPORT)["bench-whereabouts.md"] == ""
