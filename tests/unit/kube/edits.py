"""Functions of edits, for tests: a counter in an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import Change, Edit, Resource, editing

POOLS = Resource("whereabouts.cni.cncf.io", "v1alpha1", "ippools", "pool")


@editing
def mark(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Write the name of the caller once; the answer is how many there are."""
    marks = {} if wire is None else wire["spec"]["allocations"]
    name = given["name"]
    if name.startswith("bad"):
        raise InvalidConfig(f"{name} is bad")
    if name.startswith("odd"):
        raise KeyError(name)
    if name in marks:
        return Change(len(marks))
    spec: dict[str, Any] = {"allocations": {name: {"id": name, "podref": "a/b"}}}
    if wire is not None:
        return Change(len(marks) + 1, {"spec": spec})
    head = {"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool"}
    return Change(1, {**head, "spec": {"range": "10.0.0.0/8", **spec}})


@editing
def both(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """As `mark`, and one more object that is called as the caller's number."""
    change = mark(wire, given)
    then = edit(given["name"], pool=f"{given['then']}{change.answer}")
    return change._replace(then=then, at_once=given["at_once"])


@editing
def remove(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    return Change(wire is not None, remove=True)


def unmarked(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    return Change()


def edit(name: str, function: str = "mark", pool: str = "p", **given: Any) -> Edit:
    named = {"name": name, **given}
    return Edit(POOLS.object("default", pool), f"{__name__}:{function}", named)
