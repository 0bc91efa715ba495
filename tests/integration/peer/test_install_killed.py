"""'multus install' that is killed: the next one finishes what it began."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from integration.cli.conftest import MadeUpNode
from integration.peer import left
from integration.peer.test_install_over import install, installed, plugin, tree, uninstall, well
from multus.cli.commands.install.install import install as install_here
from multus.cli.commands.install.planning import Wanted, plan_for
from multus.registry.index import discover
from multus.registry.loading import load

INSTALLED = load(discover())


class Killed(BaseException):
    """What nothing handles."""


def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch, wanted: Wanted) -> bool:
    """Install until the rename or unlink number *moment*; False when there are fewer."""
    left_over = iter(range(moment))

    def until(call: Callable[..., None]) -> Callable[..., None]:
        def called(*given: Any, **named: Any) -> None:
            if next(left_over, None) is None:
                raise Killed
            call(*given, **named)

        return called

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", until(os.rename))
        patch.setattr(os, "unlink", until(os.unlink))
        try:
            install_here(wanted, plan_for(wanted, INSTALLED, 0.0), lambda _: None)
        except Killed:
            return True
    return False


def wanted_of(made_up: MadeUpNode, settings: str = "") -> Wanted:
    return Wanted(
        net_d=str(made_up.folder / "net.d"),
        bin_dir=made_up.bin.path,
        kubeconfig=str(made_up.kubeconfig("own.kubeconfig")),
        daemon_settings=str(made_up.folder / "multus" / "daemon.json"),
        settings=settings,
    )


def settled(made_up: MadeUpNode) -> dict[str, tuple[int, bytes]]:
    """The files, without what a killed process leaves that nobody reads."""
    files = tree(made_up.folder / "net.d", made_up.bin.path)
    return {path: what for path, what in files.items() if not path.endswith(".new")}


@pytest.mark.parametrize("version", ["0.3.1", "1.0.0"])
def test_the_next_one_finishes_and_uninstall_restores_the_thin_plugin(
    made_up: MadeUpNode, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """With version 1.0.0, both have a configuration of the same name."""
    left.thin(made_up, left.lan(made_up, cniVersion=version), namespaceIsolation=True)
    before = settled(made_up)
    moment = 0
    while killed_at(moment, monkeypatch, wanted_of(made_up)):
        said = well(install(made_up))
        assert plugin(made_up)["namespaceIsolation"] is True, (moment, said)
        assert not (made_up.folder / "net.d" / "00-multus.conf").exists(), moment
        uninstall(made_up)
        assert settled(made_up) == before, moment
        moment += 1
    assert moment > 5


def test_the_next_one_finishes_a_change_of_the_settings(
    made_up: MadeUpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    left.lan(made_up)
    versions = [made_up.write(f"{i}.json", {"multusNamespace": f"net{i}"}) for i in (0, 1)]
    well(install(made_up, "--settings", str(versions[0])))
    moment = 0
    while killed_at(moment, monkeypatch, wanted_of(made_up, str(versions[(moment + 1) % 2]))):
        moment += 1
        well(install(made_up, "--settings", str(versions[moment % 2])))
        assert plugin(made_up)["multusNamespace"] == f"net{moment % 2}"
        assert installed(made_up)["name"] == "multus-cni-network"
    assert moment > 1


def test_a_change_by_hand_is_still_not_overwritten(made_up: MadeUpNode) -> None:
    left.thin(made_up, left.lan(made_up))
    well(install(made_up))
    path = made_up.folder / "net.d" / "00-multus.conflist"
    path.write_text(path.read_text() + "\n")
    done = install(made_up)
    assert done.returncode == 1 and "was changed since it was installed" in done.stderr
