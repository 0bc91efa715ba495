"""The page with the picture of a node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import evolve

from tools.screenshots.node import node
from tools.screenshots.studio import DESKTOP, PHONE, Studio


def take(studio: Studio) -> None:
    """Take the page of a node with pods of three networks."""
    with node() as inside, _served(inside) as url:
        on_node = evolve(studio, inside=inside)
        for size in (DESKTOP, PHONE):
            on_node.page("picture", url, size)


@contextmanager
def _served(inside: Sequence[str]) -> Iterator[str]:
    """Where the page of the node is, within it."""
    argv = [*inside, "multus", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
