from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, LimitedConnectivity, NotAvailable
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed

STATUS = request_of("STATUS", container_id="", ifname="", netns="")


def test_the_example_misses_its_file(tmp_path: Path) -> None:
    hooks = at_work(example("multus_health")).hooks
    assert hooks.health(conf_of()) == []
    conf = conf_of(inventory=str(tmp_path / "inventory"))
    (reason,) = hooks.health(conf)
    assert isinstance(reason, NotAvailable) and "inventory" in reason.msg
    (tmp_path / "inventory").write_text("")
    assert hooks.health(conf) == []


def saying(error: CNIError, *, raised: bool) -> Callable[[], CNIError]:
    def multus_health() -> CNIError:
        if raised:
            raise error
        return error

    return multus_health


@pytest.mark.parametrize("raised", [False, True])
def test_a_status_answers_with_the_first_and_asks_no_delegate(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf, raised: bool
) -> None:
    first = plugin_named("a", saying(LimitedConnectivity("the fabric is down"), raised=raised))
    second = plugin_named("b", saying(NotAvailable("no address is left"), raised=raised))
    with pytest.raises(LimitedConnectivity, match="fabric"):
        engine(source("fake"), first, second).status(STATUS, conf)
    assert recorder.said == []


def test_all_reasons_are_gathered_whether_returned_or_raised() -> None:
    plugins = [
        plugin_named("a", saying(NotAvailable("one"), raised=True)),
        plugin_named("b", saying(NotAvailable("two"), raised=False)),
    ]
    assert [each.msg for each in at_work(*plugins).hooks.health(conf_of())] == ["one", "two"]


def test_a_plugin_that_fails_is_a_reason_with_its_name() -> None:
    def multus_health() -> CNIError:
        raise OSError("no such device")

    (reason,) = at_work(plugin_named("hasty", multus_health)).hooks.health(conf_of())
    assert isinstance(reason, PluginFailed) and "'hasty'" in reason.msg


def test_without_a_problem_the_delegates_are_asked(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    engine(source("a", "b")).status(STATUS, conf)
    assert recorder.said == ["STATUS a", "STATUS b"]
