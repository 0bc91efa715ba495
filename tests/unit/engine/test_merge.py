from __future__ import annotations

import pytest
from contract.given import at_work, merger
from hypothesis import given
from unit.values import conf_of, delegate_of, request_of, results

from multus.api.errors import CNIError
from multus.api.network import Attachment
from multus.api.result import DNS, IP, Interface, Result, Route
from multus.engine.merge import merge
from multus.testing.session import new_session

OURS = Result(interfaces=(Interface("eth0", sandbox="/x"),))
INSTALLED = at_work(merger())


def merged(before: object) -> Result:
    attachment = Attachment(delegate_of("n", primary=True), OURS)
    conf = conf_of(prevResult=before)
    return merge(INSTALLED, (attachment,), request_of(), conf, new_session())


def test_alone_in_its_list_the_result_is_the_mergers() -> None:
    assert merged(None) == OURS
    assert merged({}) == OURS


def test_behind_another_plugin_what_that_one_reported_comes_first() -> None:
    before = Result(
        interfaces=(Interface("cni0"), Interface("ens5", sandbox="/x")),
        ips=(IP("10.0.0.2/8", interface=1),),
        routes=(Route("0.0.0.0/0", "10.0.0.1"),),
        dns=DNS(("10.0.0.53",)),
    )
    result = merged(before.to_wire("1.1.0"))
    assert [link.name for link in result.interfaces] == ["cni0", "ens5", "eth0"]
    assert (result.ips, result.routes, result.dns) == (before.ips, before.routes, before.dns)


@given(results())
def test_indexes_stay_in_range(before: Result) -> None:
    result = merged({**before.to_wire("1.1.0")})
    for ip in result.ips:
        assert ip.interface is None or 0 <= ip.interface < len(result.interfaces)
    assert result.interfaces[-1] == OURS.interfaces[0]


def test_a_result_that_is_none_is_an_error() -> None:
    with pytest.raises(CNIError):
        merged({"cniVersion": "1.0.0", "ips": 5})
