"""What the kernel has, beside what a delegate's plugin reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from contract.given import Recorder, at_work, merger, source
from unit.values import conf_of, request_of

from multus.api.errors import CNIError
from multus.api.result import IP, Interface, Result, Route
from multus.engine.pipeline import Engine
from multus.log import Log

OWN_NETNS = f"/proc/{os.getpid()}/ns/net"

ODD = {
    "a name with a zero byte": Result((Interface("a\0b", sandbox=OWN_NETNS),)),
    "a name that is not Unicode": Result((Interface("\ud800", sandbox=OWN_NETNS),)),
    "an address that is none": Result(
        (Interface("lo", sandbox=OWN_NETNS),), ips=(IP("nowhere\0/8", interface=0),)
    ),
    "a route to nowhere": Result(
        (Interface("lo", sandbox=OWN_NETNS),), routes=(Route("\ud800/99"),)
    ),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_result_that_cannot_be_compared_hides_nothing_of_the_others(
    tmp_path: Path, odd: Result
) -> None:
    recorder = Recorder()
    recorder.results = {"a": odd, "b": Result((Interface("gone0", sandbox=OWN_NETNS),))}
    conf = conf_of(cniDir=str(tmp_path / "state"))
    engine = Engine(
        at_work(source("a", "b"), recorder.plugin(), merger()),
        Log.from_conf({"logLevel": "panic"}),
    )
    engine.add(request_of(netns=OWN_NETNS), conf)
    with pytest.raises(CNIError) as caught:
        engine.check(request_of("CHECK", netns=OWN_NETNS), conf)
    said = str(caught.value)
    assert "network 'a-net', interface eth0" in said
    assert "network 'b-net', interface net0: interface gone0 is gone" in said
