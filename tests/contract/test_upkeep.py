from __future__ import annotations

import os
from pathlib import Path

from contract.given import at_work, example, plugin_named
from unit.values import conf_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater
from multus.api.session import Session
from multus.registry.entry import Entry
from multus.testing.session import new_session


def errors(*entries: Entry, conf: Conf | None = None, grace: float = 0.0) -> list[CNIError]:
    return list(at_work(*entries).hooks.upkeep(conf or conf_of(), new_session(), grace))


def test_the_example_removes_what_was_not_used_for_the_grace(tmp_path: Path) -> None:
    path, conf = tmp_path / "my-cache", conf_of(cniDir=str(tmp_path))
    path.touch()
    os.utime(path, (1.0, 1.0))
    assert errors(example("multus_upkeep"), conf=conf, grace=1e12) == []
    assert path.exists()
    assert errors(example("multus_upkeep"), conf=conf) == []
    assert not path.exists()


def test_an_error_of_one_plugin_does_not_keep_another_from_its_upkeep() -> None:
    done = []

    def multus_upkeep() -> None:
        raise TryAgainLater("the server is away")

    failing = plugin_named("a", multus_upkeep)

    def working(session: Session) -> None:
        done.append(session.deadline)

    working.__name__ = "multus_upkeep"
    (found,) = errors(failing, plugin_named("b", working))
    assert "is away" in str(found) and done == [None]


def test_an_answer_and_another_exception_are_errors_with_the_plugins_name() -> None:
    def multus_upkeep() -> int:
        return 5

    (found,) = errors(plugin_named("odd", multus_upkeep))
    assert "plugin 'odd', hook 'multus_upkeep', answered with 5" in str(found)
