"""The lines of a record: what is written is read again, and nothing else is taken."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from unit.state.given import attachment
from unit.values import objects, request_of, results

from multus.api.errors import CNIError, IOFailure
from multus.api.network import Delegate, Plugin, Provenance
from multus.api.request import Request
from multus.api.result import Result
from multus.state.lines import (
    REMOVING,
    attached_wire,
    detached_wire,
    failed_wire,
    finished_wire,
    intent_wire,
    planned_wire,
    trying_wire,
)
from multus.state.record import Planned, Record, Step, applied

_names = st.text("abcdefghij0123456789", min_size=1, max_size=8)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    config = {**draw(objects), "type": draw(_names), "cniVersion": "1.0.0", "name": "net"}
    invoker = draw(_names)
    return Step(Plugin(config, invoker), config, invoker, draw(st.booleans()))


@st.composite
def planned_delegates(draw: st.DrawFn) -> Planned:
    chain = tuple(draw(st.lists(steps(), min_size=1, max_size=3)))
    places = st.dictionaries(_names, st.lists(_names, max_size=2).map(tuple), max_size=2)
    delegate = Delegate(
        name=draw(_names),
        plugins=tuple(step.plugin for step in chain),
        cni_version="1.0.0",
        label=draw(_names),
        source=draw(st.just("") | _names),
        ifname=draw(_names),
        primary=draw(st.booleans()),
        default=draw(st.booleans()),
        last=draw(st.booleans()),
        args=draw(st.dictionaries(_names, _names, max_size=2)),
        options=draw(objects),
        disable_check=draw(st.booleans()),
        disable_gc=draw(st.booleans()),
        provenance=draw(st.sampled_from(Provenance)),
        tenant_paths=draw(st.none() | places),
    )
    return Planned(delegate, chain)


def read(*lines: Mapping[str, Any]) -> Record:
    """The record that these lines make, each once through JSON."""
    record = Record("/nowhere", Request("DEL", "c1", ifname="eth0"))
    for line in lines:
        record = applied(record, json.loads(json.dumps(line)))
    return record


class TestEveryLineIsReadAgain:
    @given(planned_delegates())
    def test_a_delegate(self, planned: Planned) -> None:
        assert read(planned_wire(3, planned)).planned == {3: planned}

    @given(planned_delegates(), results())
    def test_an_attachment(self, planned: Planned, result: Result) -> None:
        made = attachment(planned, result)
        assert read(planned_wire(0, planned), attached_wire(0, made)).done == {0: made}

    @given(results())
    def test_the_answer(self, result: Result) -> None:
        assert read(finished_wire(result)).result == result

    def test_the_intent(self) -> None:
        environ = {"CNI_ARGS": "K8S_POD_NAME=web;X=1"}
        request = request_of(path=("/a", "/b"), environ=environ)
        record = read(intent_wire(request, {"name": "node"}, 2, 17.25, "4:5"))
        assert (record.expected, record.started, record.netns_identity) == (2, 17.25, "4:5")
        assert (record.conf, record.network) == ({"name": "node"}, "node")
        assert (record.request.command, record.request.netns) == ("DEL", "/run/netns/none")
        assert record.request.args == {"K8S_POD_NAME": "web", "X": "1"}
        assert record.request.path == ("/a", "/b")
        assert not record.complete


TWO = [
    Planned(Delegate(f"net{n}", (Plugin(c),), "1.0.0", ifname=f"eth{n}"), (Step(Plugin(c), c, ""),))
    for n, c in enumerate([{"type": "a", "cniVersion": "1.0.0"}, {"type": "b", "cniVersion": "1"}])
]
BEGUN: list[Mapping[str, Any]] = [planned_wire(index, each) for index, each in enumerate(TWO)]


class TestHistory:
    """What the record says after these lines."""

    def test_a_removal_counts_as_failed_from_its_beginning(self) -> None:
        record = read(*BEGUN, trying_wire(0, 5.0))
        assert (record.failures[0].times, record.failures[0].first) == (1, 5.0)
        assert record.trying == {0}

    def test_its_failure_is_not_counted_twice(self) -> None:
        record = read(*BEGUN, trying_wire(0, 5.0), failed_wire(0, "x", 6.0))
        assert (record.failures[0].times, record.trying) == (1, frozenset())

    def test_failures_are_counted_and_the_first_is_kept(self) -> None:
        lines = [failed_wire(0, "x", 5.0), trying_wire(0, 7.0), failed_wire(0, "x", 8.0)]
        record = read(*BEGUN, *lines, failed_wire(1, "y", 9.0))
        assert (record.failures[0].times, record.failures[0].first) == (2, 5.0)
        assert record.failures[1].times == 1

    def test_what_is_gone_is_neither_left_nor_standing(self) -> None:
        made = [attached_wire(index, attachment(each)) for index, each in enumerate(TWO)]
        record = read(*BEGUN, *made, detached_wire(0))
        assert (record.left(), record.standing()) == ([1], [1])
        assert [each.delegate.name for each in record.attachments()] == ["net1"]

    def test_what_is_gone_has_no_failures_any_more(self) -> None:
        record = read(*BEGUN, failed_wire(0, "x", 5.0), trying_wire(0, 7.0), detached_wire(0))
        assert (record.failures, record.trying) == ({}, frozenset())

    def test_a_removal_that_begins_takes_the_answer_back(self) -> None:
        assert read(*BEGUN, finished_wire(Result())).result is not None
        assert read(*BEGUN, finished_wire(Result()), REMOVING).result is None

    def test_a_chain_that_is_half_attached_does_not_stand(self) -> None:
        chain = TWO[0]._replace(steps=TWO[0].steps * 2)
        half = attachment(TWO[0])
        record = read(
            planned_wire(0, chain), attached_wire(0, evolve(half, delegate=chain.delegate))
        )
        assert (record.left(), record.standing()) == ([0], [])


def without(line: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != key}


MALFORMED: list[Mapping[str, Any]] = [
    {},
    {"kind": "unheard of"},
    {"kind": 5},
    detached_wire(7),
    trying_wire(-1, 1.0),
    *(without(BEGUN[0], key) for key in ("name", "ifname", "cniVersion", "steps", "delegate")),
    {**BEGUN[0], "steps": [{"config": {"type": "a"}}]},
    {**BEGUN[0], "steps": [{"config": {"cniVersion": "1.0.0"}}]},
    {**BEGUN[0], "provenance": "somebody"},
    {**BEGUN[0], "tenantPaths": {"dataDir": "not a list"}},
    {**attached_wire(0, attachment(TWO[0])), "versions": []},
    {**attached_wire(0, attachment(TWO[0])), "versions": ["1.0.0"] * 2},
    {**finished_wire(Result()), "result": {"cniVersion": "9.9.9"}},
    {**intent_wire(request_of(), {}, 1, 0.0, ""), "container": "another"},
    {**intent_wire(request_of(), {}, 1, 0.0, ""), "args": "no pair"},
]


@pytest.mark.parametrize("line", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_line_is_an_error_and_nothing_else(line: Mapping[str, Any]) -> None:
    with pytest.raises((ValueError, CNIError)):
        read(*BEGUN, line)


def test_a_long_error_is_cut() -> None:
    assert len(failed_wire(0, str(IOFailure("x" * 9000)), 0.0)["error"]) == 500


def test_a_record_of_a_release_without_provenance_is_the_nodes() -> None:
    (planned,) = read(without(BEGUN[0], "provenance")).planned.values()
    assert planned.delegate.provenance is Provenance.NODE


def test_unknown_keys_are_passed_over() -> None:
    lines: Iterable[Mapping[str, Any]] = ({**each, "later": 1} for each in BEGUN)
    assert read(*lines).planned == read(*BEGUN).planned
