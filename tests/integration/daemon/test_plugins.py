"""Plugins that clash, or that read keys: the daemon and a process for one call agree."""

from __future__ import annotations

import pytest

from integration.blackbox.program import refused
from integration.daemon.either import Either
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: The prefix of the interfaces that the hostile plugin's invoker makes.
HOSTILE_MAC = "02:00:00:00:00:01"

#: A source whose configuration is in its module.
SOURCE = """
from multus import hookimpl
from multus.api.network import Element, Provenance, Role, Selection

@hookimpl
def multus_select(request, conf):
    config = {"type": "hostile", "name": NAME, "at": "never", "deed": "", "folder": "/nowhere"}
    element = Element(NAME, "its own", NAME, config=config, provenance=Provenance.NODE)
    return Selection(Role.DEFAULT, (element,), "its own", naming="seed")
"""

#: A merger with an optional key.
MERGER = """
from multus import hookimpl
from multus.api.result import Result

@hookimpl(tryfirst=True)
def multus_merge(attachments, request, conf):
    if conf.merger == "keyed":
        return Result(interfaces=attachments[0].result.interfaces)
"""

#: An invoker with an optional key; without the invoker, Multus would look for a binary.
INVOKER = """
from multus import hookimpl
from multus.api.invoker import Invoker
from multus.api.result import Interface, Result

class Keyed(Invoker):
    name = "keyed"
    leaves_nothing = True

    def add(self, invocation):
        return Result((Interface(invocation.ifname),))

@hookimpl
def multus_invoker(plugin, delegate, conf):
    return Keyed() if plugin.type == "keyed" else None
"""


class TestClashes:
    @pytest.fixture(autouse=True)
    def two(self, either: Either) -> None:
        for name in ("ours", "theirs"):
            either.site.install(name, f"NAME = {name!r}\n{SOURCE}", plugin="source-x")

    def test_a_clash_of_names_refuses_an_add_and_is_logged(
        self, either: Either, cni_pod: Netns
    ) -> None:
        either.start()
        answer = either.multus.add(either.multus.conf(delegates=None), Container(cni_pod.path))
        refused(answer, 7, "'source-x' of multus-ours", "name multus-ours or multus-theirs in")
        assert "have the same name: uninstall all but one" in either.log(answer.stderr)

    def test_blocking_one_distribution_ends_the_clash(self, either: Either, cni_pod: Netns) -> None:
        either.start()
        conf = either.multus.conf(delegates=None, blockedPlugins=["multus-theirs"])
        container = Container(cni_pod.path)
        assert len(either.multus.add(conf, container).result["interfaces"]) == 1
        either.multus.delete(conf, container).require()

    def test_a_del_goes_on(self, either: Either, cni_pod: Netns) -> None:
        either.start()
        container = Container(cni_pod.path)
        conf = either.multus.conf(delegates=None, blockedPlugins=["multus-theirs"])
        either.multus.add(conf, container).require()
        either.multus.delete({**conf, "blockedPlugins": []}, container).require()
        assert [name for name in either.multus.records() if ":" in name.lstrip(":")] == []


class TestOptionalKeys:
    def test_a_merger_merges_without_its_key(self, either: Either, cni_pod: Netns) -> None:
        either.site.install("keyed", MERGER, keys=("mergerWeights",))
        either.start()
        conf, container = (
            either.multus.conf(either.place.ptp(61), merger="keyed"),
            Container(cni_pod.path),
        )
        result = either.multus.add(conf, container).result
        assert "ips" not in result or result["ips"] == []
        either.multus.delete(conf, container).require()

    def test_an_invoker_attaches_without_its_key(self, either: Either, cni_pod: Netns) -> None:
        either.site.install("keyed", INVOKER, keys=("keyedSpeed",))
        either.start()
        conf, container = (
            either.multus.conf({"type": "keyed", "name": "k"}),
            Container(cni_pod.path),
        )
        assert either.multus.add(conf, container).result["interfaces"] == [{"name": "eth0"}]
        either.multus.delete(conf, container).require()

    def test_a_plugin_that_needs_a_key_does_not_take_part_without_it(
        self, either: Either, cni_pod: Netns
    ) -> None:
        text = f"NAME = 'silent'\n{SOURCE}"
        either.site.install("silent", text, keys=("inventory",), only_with=("inventory",))
        either.start()
        for keys, asked in (({}, False), ({"inventory": "/x"}, True)):
            conf = either.multus.conf(either.place.ptp(61), merger="all", **keys)
            container = Container(cni_pod.path)
            macs = [
                each.get("mac") for each in either.multus.add(conf, container).result["interfaces"]
            ]
            assert (HOSTILE_MAC in macs) is asked
            either.multus.delete(conf, container).require()
