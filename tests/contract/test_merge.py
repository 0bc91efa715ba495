from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig, MissingPlugin
from multus.api.network import Attachment
from multus.api.result import Interface, Result
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.hooks import PluginFailed
from multus.testing.session import new_session

FIRST = Attachment(delegate_of("n", primary=True), Result(interfaces=(Interface("eth0"),)))


def test_the_example_answers_when_it_is_asked_for() -> None:
    hooks = at_work(example("multus_merge")).hooks
    assert (
        hooks.merge((FIRST,), request_of(), conf_of(merger="mine"), new_session()) == FIRST.result
    )
    assert hooks.merge((FIRST,), request_of(), conf_of(), new_session()) is None


def test_it_gets_the_attachments_in_the_order_of_invocation(
    engine: Callable[..., Engine], conf: Conf
) -> None:
    got: list[Attachment] = []

    def multus_merge(attachments: Sequence[Attachment]) -> Result:
        got.extend(attachments)
        return Result(interfaces=(Interface("merged"),))

    result = engine(source("a", "b"), plugin_named("mine", multus_merge)).add(request_of(), conf)
    assert result.interfaces == (Interface("merged"),)
    assert [each.delegate.ifname for each in got] == ["eth0", "net0"]
    assert [each.delegate.primary for each in got] == [True, False]


def test_an_error_undoes_every_network(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_merge() -> Result:
        raise InvalidConfig("two default routes")

    with pytest.raises(InvalidConfig, match="two default routes"):
        engine(source("a", "b"), plugin_named("mine", multus_merge)).add(request_of(), conf)
    assert recorder.said[2:] == ["DEL b net0", "DEL a eth0"]


def test_another_answer_undoes_every_network_too(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_merge() -> dict[str, str]:
        return {"cniVersion": "1.0.0"}

    with pytest.raises(PluginFailed, match="plugin 'plain', hook 'multus_merge'"):
        engine(source("a"), plugin_named("plain", multus_merge)).add(request_of(), conf)
    assert recorder.said == ["ADD a eth0", "DEL a eth0"]


@pytest.mark.parametrize(("merger", "install"), [("", "primary"), ("all", "all"), ("x", "x")])
def test_without_one_the_error_says_what_to_install(
    recorder: Recorder, conf: Conf, merger: str, install: str
) -> None:
    alone = Engine(at_work(source("a"), recorder.plugin()), Log.from_conf({}))
    with pytest.raises(MissingPlugin, match=f"install multus-merger-{install}"):
        alone.add(request_of(), conf_of(**{**conf.raw, "merger": merger}))
    assert recorder.said == ["ADD a eth0", "DEL a eth0"]
