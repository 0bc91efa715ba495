"""CHECK, STATUS and GC."""

from __future__ import annotations

import pytest
from attrs import evolve
from contract.given import Recorder
from unit.engine.invoke.given import NET, call_of, planned
from unit.values import delegate_of, request_of

from multus.api.errors import CheckFailed, CNIError, DelegateFailed, IOFailure, NotStarted
from multus.api.network import Attachment, Delegate, Invocation
from multus.api.result import IP, Interface, Result
from multus.engine.invoke.carrier import Carrier
from multus.engine.invoke.upkeep import check, collect_garbage, status
from multus.state.record import Record, restored


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


class PerContainer(CNIError):
    """An error that names the container."""


class Always(Recorder):
    """A plugin whose CHECK fails for every container."""

    def __init__(self, error: CNIError) -> None:
        super().__init__()
        self.error = error

    def check(self, invocation: Invocation) -> None:
        super().check(invocation)
        if isinstance(self.error, PerContainer):
            raise self.error.detailed(invocation.request.container_id)
        raise self.error


class TestCheck:
    RESULT = Result(ips=(IP("10.0.0.2/8"),))

    def record(self, call: Carrier, *delegates: Delegate) -> Record:
        """A finished record, each plugin spoken to in version 0.4.0."""
        every = dict(planned(call, *delegates))
        done = {
            index: Attachment(each.delegate, self.RESULT, ("0.4.0",) * len(each.steps), ("r",) * 2)
            for index, each in every.items()
        }
        return Record("/x", request_of("DEL"), planned=every, expected=len(every), done=done)

    MADE = Result(
        (Interface("veth0"), Interface("eth0", "02:00:00:00:00:01", "/run/netns/none")),
        (IP("10.0.0.2/8", interface=1),),
    )

    def made(self, call: Carrier) -> Record:
        """The record of a delegate of one plugin, which made an interface."""
        record = self.record(call, delegate_of("one", ifname="eth0"))
        request = restored(request_of("DEL"), "/run/netns/none", (), "")
        done = {0: evolve(record.done[0], result=self.MADE)}
        return evolve(record, request=request, done=done)

    def test_every_plugin_gets_the_result_in_the_version_of_its_add(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        assert check(self.record(call, NET), call) == []
        assert recorder.said == ["CHECK make eth0", "CHECK tune eth0"]
        assert {(each.cni_version, each.prev_result) for each in recorder.calls} == {
            ("0.4.0", self.RESULT)
        }

    def test_goes_on_past_errors_and_names_each(self) -> None:
        recorder = Recorder(CHECK_eth0=CheckFailed("gone"))
        call = call_of(recorder)
        errors = check(self.record(call, NET, delegate_of("x", ifname="net0")), call)
        assert [each.msg for each in errors] == [
            "network 'net', plugin 'make', interface eth0: gone",
            "network 'net', plugin 'tune', interface eth0: gone",
        ]
        assert len(recorder.calls) == 3

    @pytest.mark.parametrize("last", [True, False])
    def test_only_the_nodes_own_chain_is_asked_again_with_the_containers_interface(
        self, last: bool
    ) -> None:
        recorder = Recorder(CHECK_net1=CheckFailed("gone"))
        call = call_of(recorder)
        record = self.record(call, delegate_of("own", ifname="net1", last=last))
        record = evolve(record, done={0: evolve(record.done[0], result=Result())})
        errors = check(record, call)
        asked = [each.ifname for each in recorder.calls]
        if last:
            assert (errors, asked) == ([], ["net1", "eth0"])
        else:
            assert [each.msg for each in errors] == [
                "network 'own', plugin 'fake', interface net1: gone"
            ]
            assert "eth0" not in asked

    @pytest.mark.parametrize(
        "error", [CNIError("no plugin name"), IOFailure("no tool", "in /opt"), NotStarted("x")]
    )
    def test_an_error_that_a_stranger_gets_too_is_logged(self, error: CNIError) -> None:
        recorder = Always(error)
        args = {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": "web"}
        call = call_of(recorder)
        call = call.asked_by(evolve(call.request, args=args))
        assert check(self.made(call), call) == []
        asked, control = recorder.calls
        assert asked.prev_result == self.MADE
        assert control.prev_result is not None
        assert (control.request.netns, control.config) == (asked.request.netns, asked.config)
        names = {each.name for each in control.prev_result.interfaces}
        assert control.ifname in names and not names & {"eth0", "veth0"}
        assert control.prev_result.ips == self.MADE.ips
        assert control.request.container_id not in ("", asked.request.container_id)
        environ = control.environ()
        assert environ["CNI_CONTAINERID"] == control.request.container_id
        assert environ["CNI_ARGS"].startswith("K8S_POD_NAMESPACE=default;K8S_POD_NAME=")
        assert "web" not in environ["CNI_ARGS"]

    @pytest.mark.parametrize(
        "error", [CheckFailed("gone"), DelegateFailed("killed"), PerContainer("not found")]
    )
    def test_any_other_error_is_about_the_container(self, error: CNIError) -> None:
        recorder = Always(error)
        call = call_of(recorder)
        (found,) = check(self.made(call), call)
        assert error.reason in found.msg
        asked = 2 if isinstance(error, PerContainer) else 1
        assert len(recorder.calls) == asked

    @pytest.mark.parametrize(
        "link",
        [
            Interface("eth0"),
            Interface("eth0", sandbox="qemu:vm1"),
            Interface("eth0", sandbox="/run/netns/none", pci_id="0000:3b:02.1"),
        ],
    )
    def test_without_an_interface_to_compare_the_plugin_is_believed(self, link: Interface) -> None:
        recorder = Always(CNIError("no plugin name provided"))
        call = call_of(recorder)
        record = self.made(call)
        done = evolve(record.done[0], result=Result((link,)))
        assert len(check(evolve(record, done={0: done}), call)) == 1
        assert len(recorder.calls) == 1

    def test_leaves_out_what_is_disabled_gone_or_half_attached(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        record = self.record(call, delegate_of("x", disable_check=True), NET, NET)
        half = evolve(record.done[2], versions=("0.4.0",), invokers=("r",))
        record = evolve(record, gone=frozenset({1}), done={**record.done, 2: half})
        assert (check(record, call), recorder.calls) == ([], [])
