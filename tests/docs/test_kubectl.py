"""The sessions of the page about clusters, with real kubectl and a cluster of three nodes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docs.test_examples import _pattern, examples, steps
from repository import ROOT

from integration.kube.manynodes import ManyNodes
from multus.picture.cluster.reading import ASKED, STATUS
from multus.testing.apiserver import ApiServer
from multus.testing.netns import Netns, Node

PAGE = ROOT / "docs" / "kubectl.md"
SESSION = [step for each in examples(PAGE, "text") for step in steps(each)]


def status(*entries: tuple[str, str, str]) -> str:
    keys = ("name", "interface", "address")
    wire = [dict(zip(keys, each, strict=True)) for each in entries]
    return json.dumps([{**each, "ips": [each.pop("address")]} for each in wire])


@pytest.fixture
def many(tmp_path: Path, cni_node: Node, cni_pods: Callable[[], Netns]) -> Iterator[ManyNodes]:
    """The cluster of the page."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    with ApiServer() as api:
        many = ManyNodes(api, tmp_path, cni_node, cni_pods)
        first, second = many.add("worker-1"), many.add("worker-2")
        many.add("worker-3", phase="")
        many.attach(first, "shop", "web")
        many.attach(first, "default", "db")
        many.attach(second, "shop", "cart")
        (second.host / "opt/cni/bin/multus").unlink()
        for name, address in (("web", "10.61.0.2"), ("cart", "10.62.0.2")):
            found = status(("lan", "eth0", address), ("shop/storage", "net1", "192.0.2.7"))
            api.annotate(name, {STATUS: found}, namespace="shop")
        api.create_pod("new", {ASKED: "storage"}, namespace="shop", node="worker-2")
        yield many


def test_the_sessions_say_what_the_page_shows(many: ManyNodes) -> None:
    assert len(SESSION) == 5
    for step in SESSION:
        done = subprocess.run(
            ["sh", "-c", f"exec 2>&1; {step.command}"],
            env={**many.environ, "COLUMNS": "160"},
            capture_output=True,
            text=True,
            check=False,
        )
        # A slow machine is told what is waited for.
        told = re.sub(r"(?m)^(kubectl multus|multus graph): .* \(\d+ s\)\n", "", done.stdout)
        fits = re.fullmatch(_pattern(step.shown), told, re.DOTALL)
        assert fits, f"$ {step.command}\nsays:\n{told}\nnot:\n{step.shown}"
