"""Plugins that are installed wrongly, or that read keys: the daemon and one process agree."""

from __future__ import annotations

import pytest
from attrs import evolve
from unit.registry.site import Site

from integration.blackbox.program import Multus, refused
from integration.daemon.place import Place
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: What the hostile plugin's invoker gives its interfaces.
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

#: A merger with a key that may be left out, as any key may.
MERGER = """
from multus import hookimpl
from multus.api.result import Result

@hookimpl(tryfirst=True)
def multus_merge(attachments, request, conf):
    if conf.merger == "keyed":
        return Result(interfaces=attachments[0].result.interfaces)
"""

#: An invoker with a key that may be left out; without it, a binary is looked for.
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


@pytest.fixture
def site(place: Place) -> Site:
    """Where plugins for the node are installed."""
    return Site(place.folder / "site", place.folder / "index.json")


@pytest.fixture(params=["one process", "daemon"])
def multus(request: pytest.FixtureRequest, place: Place, cni_program: tuple[str, ...]) -> Multus:
    """The way in; start what has to run with ``start``."""
    if request.param == "daemon":
        return place.multus
    environ = {"PYTHONPATH": str(place.folder / "site")}
    return evolve(
        place.multus, runtime=evolve(place.multus.runtime, program=cni_program, environ=environ)
    )


def start(place: Place, multus: Multus) -> None:
    if multus is place.multus:
        place.start()


def log_of(place: Place, stderr: bytes) -> str:
    """The log, wherever this way in writes it."""
    return place.daemon.log + stderr.decode()


class TestClashes:
    @pytest.fixture(autouse=True)
    def two(self, site: Site) -> None:
        for name in ("ours", "theirs"):
            site.install(name, f"NAME = {name!r}\n{SOURCE}", plugin="source-x")

    def test_of_names_refuse_an_add_and_are_in_the_log(
        self, place: Place, multus: Multus, cni_pod: Netns
    ) -> None:
        start(place, multus)
        answer = multus.add(multus.conf(delegates=None), Container(cni_pod.path))
        refused(answer, 7, "'source-x' of multus-ours", "name multus-ours or multus-theirs in")
        assert "have the same name: uninstall all but one" in log_of(place, answer.stderr)

    def test_blocking_one_distribution_settles_them(
        self, place: Place, multus: Multus, cni_pod: Netns
    ) -> None:
        start(place, multus)
        conf = multus.conf(delegates=None, blockedPlugins=["multus-theirs"])
        container = Container(cni_pod.path)
        assert len(multus.add(conf, container).result["interfaces"]) == 1
        multus.delete(conf, container).require()

    def test_a_del_goes_on(self, place: Place, multus: Multus, cni_pod: Netns) -> None:
        start(place, multus)
        container = Container(cni_pod.path)
        conf = multus.conf(delegates=None, blockedPlugins=["multus-theirs"])
        multus.add(conf, container).require()
        multus.delete({**conf, "blockedPlugins": []}, container).require()
        assert [name for name in multus.records() if ":" in name.lstrip(":")] == []


class TestKeysThatMayBeLeftOut:
    def test_a_merger_merges_without_its_key(
        self, place: Place, site: Site, multus: Multus, cni_pod: Netns
    ) -> None:
        site.install("keyed", MERGER, keys=("mergerWeights",))
        start(place, multus)
        conf, container = multus.conf(place.ptp(61), merger="keyed"), Container(cni_pod.path)
        result = multus.add(conf, container).result
        assert "ips" not in result or result["ips"] == []
        multus.delete(conf, container).require()

    def test_an_invoker_attaches_without_its_key(
        self, place: Place, site: Site, multus: Multus, cni_pod: Netns
    ) -> None:
        site.install("keyed", INVOKER, keys=("keyedSpeed",))
        start(place, multus)
        conf, container = multus.conf({"type": "keyed", "name": "k"}), Container(cni_pod.path)
        assert multus.add(conf, container).result["interfaces"] == [{"name": "eth0"}]
        multus.delete(conf, container).require()

    def test_what_takes_part_only_with_a_key_takes_none_without(
        self, place: Place, site: Site, multus: Multus, cni_pod: Netns
    ) -> None:
        text = f"NAME = 'silent'\n{SOURCE}"
        site.install("silent", text, keys=("inventory",), only_with=("inventory",))
        start(place, multus)
        for keys, asked in (({}, False), ({"inventory": "/x"}, True)):
            conf = multus.conf(place.ptp(61), merger="all", **keys)
            container = Container(cni_pod.path)
            macs = [each.get("mac") for each in multus.add(conf, container).result["interfaces"]]
            assert (HOSTILE_MAC in macs) is asked
            multus.delete(conf, container).require()
