"""CHECK, STATUS and GC."""

from __future__ import annotations

import pytest
from contract.given import Recorder
from unit.engine.invoke.given import NET, call_of
from unit.values import delegate_of

from multus.api.errors import CNIError, IOFailure
from multus.engine.invoke.upkeep import collect_garbage, status


class TestGarbage:
    VALID = ({"containerID": "c1", "ifname": "eth0"},)

    def test_every_plugin_gets_its_networks_attachments(self) -> None:
        recorder = Recorder()
        assert collect_garbage([(NET, self.VALID)], call_of(recorder)) == []
        assert [each.verb for each in recorder.calls] == ["GC", "GC"]
        assert all(each.valid_attachments == self.VALID for each in recorder.calls)

    def test_goes_on_past_errors(self) -> None:
        recorder = Recorder(GC_eth0=IOFailure("stuck"))
        errors = collect_garbage([(NET, ()), (delegate_of("x"), ())], call_of(recorder))
        assert len(errors) == 2 and len(recorder.calls) == 3

    def test_leaves_out_who_wants_that(self) -> None:
        recorder = Recorder()
        assert collect_garbage([(delegate_of("x", disable_gc=True), ())], call_of(recorder)) == []
        assert recorder.calls == []


class TestStatus:
    def test_the_first_error_is_passed_on_as_it_is(self) -> None:
        recorder = Recorder(STATUS_eth0=CNIError("no daemon", code=51))
        with pytest.raises(CNIError) as caught:
            status([NET, delegate_of("never")], call_of(recorder))
        assert (caught.value.msg, caught.value.number) == ("no daemon", 51)
        assert recorder.said == ["STATUS make eth0"]
