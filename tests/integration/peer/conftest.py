"""What runs on the Go Multus: the installed program and real delegates on a node with an API."""

from __future__ import annotations

from integration.cli.conftest import made_up
from integration.daemon.conftest import programs
from integration.kube.conftest import api, cluster
from integration.peer.served import served

__all__ = ["api", "cluster", "made_up", "programs", "served"]
