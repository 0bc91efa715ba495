from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.network import Delegate, Plugin
from multus.engine.pipeline import Engine
from multus.testing.session import new_session


def test_the_example_adds_a_step_where_its_key_says_so() -> None:
    hooks = at_work(example("multus_chain")).hooks
    assert hooks.chain(delegate_of("n"), request_of(), conf_of(), new_session()) == []
    (step,) = hooks.chain(delegate_of("n"), request_of(), conf_of(everyMtu=1400), new_session())
    assert step.config == {"type": "tuning", "mtu": 1400}


def test_steps_come_after_the_delegates_own_and_are_deleted_first(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_chain(delegate: Delegate) -> list[Plugin]:
        return [Plugin({"type": "tune"}), Plugin({"type": "count"})]

    longer = engine(source("make"), plugin_named("longer", multus_chain))
    longer.add(request_of(), conf)
    longer.delete(request_of("DEL"), conf)
    assert recorder.said == [
        *("ADD make eth0", "ADD tune eth0", "ADD count eth0"),
        *("DEL count eth0", "DEL tune eth0", "DEL make eth0"),
    ]


def test_a_step_gets_the_result_of_the_one_before_and_the_networks_name(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_chain() -> list[Plugin]:
        return [Plugin({"type": "tune"})]

    engine(source("make"), plugin_named("longer", multus_chain)).add(request_of(), conf)
    make, tune = recorder.calls
    assert make.prev_result is None
    assert tune.prev_result and tune.prev_result.interfaces[0].name == "eth0"
    assert tune.config["name"] == make.config["name"] == "make-net"


def test_an_error_fails_the_request_before_anything_is_attached(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_chain() -> list[Plugin]:
        raise InvalidConfig("two networks want the default route")

    with pytest.raises(InvalidConfig, match="default route"):
        engine(source("make"), plugin_named("longer", multus_chain)).add(request_of(), conf)
    assert recorder.said == []
