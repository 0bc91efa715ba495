from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract.given import Recorder, at_work, merger
from unit.values import conf_of

from multus.api.conf import Conf
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry


@pytest.fixture
def recorder() -> Recorder:
    """The invoker of all tests."""
    return Recorder()


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    """A configuration that keeps its state in the test's folder."""
    return conf_of(cniDir=str(tmp_path / "state"), logLevel="debug")


@pytest.fixture
def engine(recorder: Recorder) -> Callable[..., Engine]:
    """Makes an engine with the recorder, a merger, and these plugins."""

    def make(*entries: Entry, **keys: Any) -> Engine:
        installed = at_work(*entries, recorder.plugin(), merger())
        return Engine(installed, Log.from_conf({"logLevel": "debug", **keys}))

    return make
