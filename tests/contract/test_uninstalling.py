"""Without a plugin only its function is missing, and the error says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.given import at_work
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, MissingPlugin
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry
from multus.registry.index import discover
from multus.testing.delegates import BinDir

NEEDED = ("source-conffile", "invoker-exec", "merger-primary", "merger-all")


def installed_but(*missing: str) -> Engine:
    """An engine with the first four plugins, without some of them."""
    entries = {entry.name: entry for entry in discover() if entry.name in NEEDED}
    if len(entries) < len(NEEDED):
        pytest.skip(f"not all of {', '.join(NEEDED)} are installed")
    kept: list[Entry] = [entry for name, entry in entries.items() if name not in missing]
    return Engine(at_work(*kept), Log.from_conf({"logToStderr": False}))


@pytest.fixture
def folder(tmp_path: Path) -> BinDir:
    return BinDir(str(tmp_path / "bin")).stand_in("fake")


@pytest.fixture
def conf(tmp_path: Path, folder: BinDir) -> Conf:
    delegates = [{"type": "fake"}, {"type": "fake"}]
    return conf_of(cniDir=str(tmp_path / "state"), binDir=folder.path, delegates=delegates)


def test_with_all_of_them_it_works(conf: Conf, folder: BinDir) -> None:
    engine = installed_but()
    assert [link.name for link in engine.add(request_of(), conf).interfaces] == ["eth0"]
    engine.delete(request_of("DEL"), conf)
    assert folder.commands() == [
        *("ADD fake eth0", "ADD fake net0"),
        *("DEL fake net0", "DEL fake eth0"),
    ]


@pytest.mark.parametrize(
    ("missing", "left_behind"),
    [("source-conffile", []), ("invoker-exec", []), ("merger-primary", ["ADD", "DEL"])],
)
def test_without_one_an_add_fails_and_says_what_to_install(
    conf: Conf, folder: BinDir, missing: str, left_behind: list[str]
) -> None:
    with pytest.raises(MissingPlugin) as caught:
        installed_but(missing).add(request_of(), conf)
    assert f"install multus-{missing}" in caught.value.msg
    # Networks attached before the error are detached again.
    assert sorted({call.command for call in folder.calls}) == left_behind
    assert not any(":" in path.name for path in Path(conf.cni_dir).glob("*"))


def test_without_the_primary_merger_the_other_one_still_answers(conf: Conf) -> None:
    asked = conf_of(**{**conf.raw, "merger": "all"})
    result = installed_but("merger-primary").add(request_of(), asked)
    assert [link.name for link in result.interfaces] == ["eth0", "net0"]


def test_without_the_other_merger_the_primary_one_still_answers(conf: Conf) -> None:
    engine = installed_but("merger-all")
    assert [link.name for link in engine.add(request_of(), conf).interfaces] == ["eth0"]
    engine.delete(request_of("DEL"), conf)
    with pytest.raises(MissingPlugin, match="install multus-merger-all"):
        engine.add(request_of(), conf_of(**{**conf.raw, "merger": "all"}))


@pytest.mark.parametrize("missing", ["source-conffile", "merger-primary", "merger-all"])
def test_what_is_attached_is_removed_without_it(conf: Conf, folder: BinDir, missing: str) -> None:
    installed_but().add(request_of(), conf)
    installed_but(missing).delete(request_of("DEL"), conf)
    assert folder.commands("DEL") == ["DEL fake net0", "DEL fake eth0"]


def test_without_the_invoker_it_stays_until_it_is_back(conf: Conf, folder: BinDir) -> None:
    installed_but().add(request_of(), conf)
    with pytest.raises(CNIError, match="install multus-invoker-exec"):
        installed_but("invoker-exec").delete(request_of("DEL"), conf)
    installed_but().delete(request_of("DEL"), conf)
    assert folder.commands("DEL") == ["DEL fake net0", "DEL fake eth0"]
