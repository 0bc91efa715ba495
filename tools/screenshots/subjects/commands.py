"""The commands that look at a node."""

from __future__ import annotations

from attrs import evolve

from tools.screenshots.node import node
from tools.screenshots.studio import Studio


def take(studio: Studio) -> None:
    """Take each on one node, which has a daemon, five pods, and one that could not start."""
    with node() as inside:
        on_node = evolve(studio, inside=inside)
        on_node.terminal("status", "multus status")
        on_node.terminal("attachments", "multus attachments")
        on_node.terminal("doctor", "multus doctor")
        # A slow machine is told on stderr what is waited for.
        quiet = ["sh", "-c", "multus explain --pod shop/web 2>&-"]
        on_node.terminal("explain", "multus explain --pod shop/web", argv=quiet, lines=32)
        on_node.terminal("events", "multus events --last 6")
        on_node.terminal("graph", "multus graph", lines=30)
        on_node.drawing("node", ["multus", "graph", "--svg", "-"])
        on_node.live("top", "multus top", until="q quits")
