"""The node daemon: plugins loaded once, served over a Unix socket.  See ``docs/daemon.md``."""

from __future__ import annotations
