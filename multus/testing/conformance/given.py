"""The fixtures of the suite."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from multus.api.conf import Conf
from multus.api.network import Attachment, Delegate, Plugin
from multus.api.request import Request
from multus.api.result import DNS, IP, Interface, Result, Route
from multus.api.session import Session
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.testing.conformance.cluster import SampleCluster, serving
from multus.testing.conformance.subject import Sample, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Given:
    """A pytest plugin: the fixtures of the suite, for one subject."""

    def __init__(self, subject: Subject, sample: str | None) -> None:
        self._subject = subject
        self._sample = sample

    @pytest.fixture
    def subject(self) -> Subject:
        return self._subject

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        sample = Sample.load(self._sample, str(tmp_path))
        for name, content in sample.files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return sample

    @pytest.fixture
    def cluster(self, sample: Sample, tmp_path: Path) -> Iterator[SampleCluster]:
        """The API server with the sample's objects; empty when it has none."""
        if sample.objects is None:
            yield SampleCluster()
            return
        with serving(sample.objects, str(tmp_path)) as cluster:
            yield cluster

    @pytest.fixture
    def conf_with(self, tmp_path: Path) -> Callable[..., Conf]:
        """Makes configurations whose state is in the test's folder."""

        def make(**keys: Any) -> Conf:
            base = {
                "cniVersion": "1.1.0",
                "name": "conformance",
                "type": "multus",
                "cniDir": str(tmp_path / "state"),
                "binDir": str(tmp_path / "bin"),
                "logToStderr": False,
            }
            return Conf.from_wire({**base, **keys})

        return make

    @pytest.fixture
    def request_(self, cluster: SampleCluster) -> Request:
        """An ADD for the sample's pod, or for a container without a pod."""
        return Request(
            command="ADD",
            container_id="conformance",
            netns="/run/netns/none",
            ifname="eth0",
            path=("/opt/cni/bin",),
            args=cluster.args,
        )

    @pytest.fixture
    def new_session(self) -> Iterator[Callable[[], Session]]:
        """Makes sessions; they are closed when the test ends."""
        with ExitStack() as every:
            log = Log.from_conf({"logToStderr": False})
            yield lambda: every.enter_context(Session(log))

    @pytest.fixture
    def session(self, new_session: Callable[[], Session]) -> Session:
        """The session for the plugin."""
        return new_session()

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine with all installed plugins."""
        return Engine(self._subject.together, Log.from_conf({"logToStderr": False}))

    @pytest.fixture
    def attachments(self) -> tuple[Attachment, ...]:
        """Three attachments with results of three CNI versions, the primary first."""
        return tuple(_attachment(*each) for each in _RESULTS)


def _attachment(ifname: str, result: Result) -> Attachment:
    kind = "bridge" if ifname == "eth0" else "macvlan"
    delegate = Delegate(
        name=f"net-of-{ifname}",
        plugins=(Plugin({"type": kind}),),
        cni_version="1.0.0",
        ifname=ifname,
        primary=ifname == "eth0",
    )
    return Attachment(delegate, result, ("1.0.0",), ("exec",), 0.01)


_SANDBOX = "/run/netns/none"
_RESULTS = (
    (
        "eth0",
        Result(
            interfaces=(
                Interface("br0", "02:00:00:00:00:01"),
                Interface("eth0", "02:00:00:00:00:02", _SANDBOX, mtu=1450),
            ),
            ips=(IP("10.1.0.2/24", "10.1.0.1", 1), IP("fd00::2/64", "fd00::1", 1)),
            routes=(Route("0.0.0.0/0", "10.1.0.1"), Route("::/0", "fd00::1", priority=10)),
            dns=DNS(nameservers=("10.1.0.1",)),
        ),
    ),
    ("net1", Result(ips=(IP("10.2.0.2/24", "10.2.0.1"),))),
    ("net2", Result()),
)
