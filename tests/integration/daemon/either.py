"""Runs a test twice: with one process for each call, and with the daemon."""

from __future__ import annotations

import pytest
from attrs import evolve, frozen
from unit.registry.site import Site

from integration.blackbox.program import Multus
from integration.daemon.place import Place


@frozen
class Either:
    """One of the two; ``site`` is the folder where its plugins are installed."""

    place: Place
    multus: Multus
    site: Site
    daemon: bool

    def start(self) -> None:
        """Start, after all plugins are installed."""
        if self.daemon:
            self.place.start()

    def log(self, stderr: bytes) -> str:
        """The log of the daemon, or of the call that printed *stderr*."""
        return self.place.daemon.log if self.daemon else stderr.decode()


@pytest.fixture(params=["one process", "daemon"])
def either(request: pytest.FixtureRequest, place: Place, cni_program: tuple[str, ...]) -> Either:
    """Both ways, one after the other."""
    daemon = request.param == "daemon"
    environ = {"PYTHONPATH": str(place.folder / "site"), "MULTUS_STANDALONE": "1"}
    alone = evolve(place.multus.runtime, program=cni_program, environ=environ)
    multus = place.multus if daemon else evolve(place.multus, runtime=alone)
    return Either(place, multus, Site(place.folder / "site", place.folder / "index.json"), daemon)
