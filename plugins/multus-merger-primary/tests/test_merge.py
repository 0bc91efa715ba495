from __future__ import annotations

import pytest

from multus.api.conf import Conf
from multus.api.network import Attachment, Delegate, Plugin
from multus.api.request import Request
from multus.api.result import IP, Result
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.session import new_session

REQUEST = Request("ADD", container_id="c1", ifname="eth0")


def attachment(name: str, *, primary: bool = False) -> Attachment:
    delegate = Delegate(name, (Plugin({"type": "fake"}),), "1.0.0", ifname=name, primary=primary)
    return Attachment(delegate, Result(ips=(IP(f"10.0.0.{len(name)}/8"),)))


def merged(merger: str, *attachments: Attachment) -> Result | None:
    entries = [each for each in discover() if each.name == "merger-primary"]
    installed = load(entries)
    assert installed.loaded and not installed.broken
    conf = Conf.from_wire({"name": "n", "merger": merger})
    return installed.hooks.merge(attachments, REQUEST, conf, new_session())


@pytest.mark.parametrize("merger", ["", "primary"])
def test_the_primarys_result_wherever_it_stands(merger: str) -> None:
    primary = attachment("eth0", primary=True)
    others = attachment("a"), attachment("bb")
    assert merged(merger, *others, primary) == merged(merger, primary, *others) == primary.result


@pytest.mark.parametrize("merger", ["all", "mine"])
def test_another_merger_is_left_to_answer(merger: str) -> None:
    assert merged(merger, attachment("eth0", primary=True)) is None
