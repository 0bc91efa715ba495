from __future__ import annotations

import pytest

from multus.api.errors import (
    CheckFailed,
    CNIError,
    IncompatibleVersion,
    InvalidConfig,
    TryAgainLater,
    either,
    failure,
)
from multus.api.kubernetes import NotFound
from multus.api.problem import Problem
from multus.api.where import Where, within


def test_an_error_is_one_sentence_of_its_parts() -> None:
    error = InvalidConfig("is 5", where="file /x", key="a.b", fix="write 6")
    assert error.msg == "file /x: 'a.b' is 5: write 6"
    assert error.said == "file /x: 'a.b' is 5"
    assert (error.where, error.path, error.reason, error.fix) == (
        "file /x",
        ("a", "b"),
        "is 5",
        "write 6",
    )


def test_a_reason_alone_is_the_whole_sentence() -> None:
    error = CNIError("the disk is full", "more")
    assert (error.msg, error.path, error.fix) == ("the disk is full", (), "")
    assert str(error) == "the disk is full: more"


def test_a_path_that_the_reason_names_itself_is_not_shown_twice() -> None:
    error = InvalidConfig("missing network name", path="name")
    assert (error.msg, error.path) == ("missing network name", ("name",))


def test_the_path_begins_where_the_object_does() -> None:
    entry = within(Where("annotation of pod a/b", ("metadata", "x.y/z")), ", entry 2", 1)
    error = InvalidConfig("is wrong", where=entry, key=("ips", 0))
    assert error.msg == "annotation of pod a/b, entry 2: 'ips[0]' is wrong"
    assert error.path == ("metadata", "x.y/z", 1, "ips", 0)


def test_an_error_in_a_larger_object_keeps_its_parts() -> None:
    error = InvalidConfig("is 5", "more", where="network a", key="mtu", fix="write 6")
    outer = error.at("interface eth0")
    assert outer.msg == "interface eth0: network a: 'mtu' is 5: write 6"
    assert (outer.path, outer.fix, outer.details) == (("mtu",), "write 6", "more")
    assert type(outer) is InvalidConfig and error.where == "network a"


def test_it_keeps_its_class_and_what_the_class_has() -> None:
    cause = OSError("cause")
    error = NotFound("no pod", True, fix="create it")
    error.__cause__ = cause
    copy = error.at("here").detailed("", "more")
    assert isinstance(copy, NotFound) and copy.kind_known
    assert (copy.msg, copy.details, copy.number) == ("here: no pod: create it", "more", 11)
    assert copy.__cause__ is cause


def test_the_same_words_in_another_class() -> None:
    error = TryAgainLater("busy", "more", where="x", fix="wait")
    assert error.into(CheckFailed).to_wire("1.0.0") == {
        "cniVersion": "1.0.0",
        "code": CheckFailed.code,
        "msg": "x: busy: wait",
        "details": "more",
    }
    assert error.into(CheckFailed, code=7).number == 7


def test_a_delegates_error_keeps_its_own_code() -> None:
    assert IncompatibleVersion("x").number == 1
    assert CNIError("x", code=42).at("y").number == 42


def test_several_problems_are_one_error() -> None:
    found = [Problem("a", "is 5", "write 6"), Problem("b[0]", "is 7", "write 8")]
    error = InvalidConfig.of(found, "configuration 'n'")
    assert error.msg == "configuration 'n': 'a' is 5: write 6"
    assert error.details == "'b[0]' is 7: write 8"
    assert list(error.problems) == found


def test_an_error_is_one_problem() -> None:
    error = InvalidConfig("is 5", where="x", key="a", fix="write 6")
    assert error.problems == (Problem("a", "is 5", "write 6"),)


def test_what_a_plugin_raised_names_it_and_the_fix() -> None:
    error = failure("plugin 'x'", KeyError("k"))
    assert error.msg == "plugin 'x' failed with KeyError: 'k': report it to its author"
    assert error.fix == "report it to its author"


@pytest.mark.parametrize(("words", "text"), [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c")])
def test_some_words_to_choose_from(words: str, text: str) -> None:
    assert either(list(words)) == text
