"""Checks that the files are there which 'multus install' wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator

from multus.api.errors import CNIError
from multus.cli.commands.doctor.places import Node
from multus.cli.commands.install.configuration import NAME
from multus.cli.commands.install.files import Manifest
from multus.cli.findings import ERROR, OK, Finding, Place, of_error

_SUBJECT = "installed files"


def missing_files(node: Node) -> Iterator[Finding]:
    """Name every file of the manifest that is missing.

    The program and the configuration have checks of their own.
    """
    places = node.places
    elsewhere = (os.path.join(places.bin_dir, "multus"), os.path.join(places.net_d, NAME))
    try:
        manifest = Manifest.load(places.at(places.net_d))
    except CNIError as error:
        yield of_error(error, _SUBJECT)
        return
    # A file without a checksum is one that was put away.
    paths = [path for path, each in manifest.written.items() if each.sha256]
    missing = [path for path in paths if not places.exists(path) and path not in elsewhere]
    for path in missing:
        reason = f"{path} is missing, which 'multus install' wrote: {_why(path)}"
        yield Finding(ERROR, _SUBJECT, reason, "run 'multus install' again", Place(path))
    if paths and not missing:
        yield Finding(OK, _SUBJECT, "all that 'multus install' wrote is there")


def _why(path: str) -> str:
    """What the node does without the file at *path*."""
    if os.path.basename(path) == "multus-standalone":
        return "without a daemon, no call can be carried out"
    return "calls may fail without it"
