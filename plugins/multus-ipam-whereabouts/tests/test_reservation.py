"""Whose reservation is removed."""

from __future__ import annotations

from typing import Any

from multus_ipam_whereabouts.reservation import forget

OLD: dict[str, Any] = {"id": "c1", "podref": "shop/web", "ifname": "net1", "freed": True}


def held(**spec: str) -> dict[str, Any]:
    return {"spec": {"podref": "shop/web", "ifname": "net1", **spec}}


def test_a_late_removal_leaves_what_a_newer_container_of_the_pod_has() -> None:
    assert forget(held(containerid="c1"), OLD).remove
    assert not forget(held(containerid="c2"), OLD).remove


def test_where_no_container_is_written_the_pod_says_whose_it_is() -> None:
    assert forget(held(), OLD).remove
    assert not forget(held(podref="shop/other"), OLD).remove
    assert not forget(held(), {**OLD, "freed": False}).remove
