"""A lease is held by one process at a time, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from multus.api.kubernetes import Deadline
from multus.kube.client import KubeClient
from multus.kube.leases import take
from multus.testing.apiserver import ApiServer


def test_another_gets_it_when_it_has_ended(
    connect: Callable[..., KubeClient], soon: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, now = connect(), [2e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert take(client, "l", "a", 10, soon)
    assert not take(client, "l", "b", 10, soon)
    now[0] += 5
    assert take(client, "l", "a", 10, soon)
    now[0] += 9
    assert not take(client, "l", "b", 10, soon)
    now[0] += 2
    assert take(client, "l", "b", 10, soon)
    assert not take(client, "l", "a", 10, soon)


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": "x", "renewTime": "yesterday"}])
def test_one_that_cannot_be_read_is_taken(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline, spec: dict[str, str]
) -> None:
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
    api.create({**made, "metadata": {"name": "l", "namespace": "kube-system"}})
    assert take(connect(), "l", "a", 10, soon)
