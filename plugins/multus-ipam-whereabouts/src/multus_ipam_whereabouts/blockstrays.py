"""Blocks whose folder this node has lost: their addresses are unused, and only it can know.

Its file system was replaced, for instance, and it has its name again.  They are not freed: a pod
may still run that has one of the addresses.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from multus_ipam_whereabouts.blocks import Holder, holder_of, lent_of, ref_of
from multus_ipam_whereabouts.nodeblocks import homes
from multus_ipam_whereabouts.objects import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from multus.api.kubernetes import Api, Deadline

#: Between two looks, in seconds: what is found twice is said, and then looked for seldom.
_SOON, _SELDOM = 60.0, 3600.0
#: When to look again, by ``cniDir``, and what the last look has found; only a cache.
_looks: dict[str, tuple[float, frozenset[str]]] = {}


def strays(api: Api, cni_dir: str, deadline: Deadline) -> Iterator[str]:
    """What to say of such blocks, and of borrowed addresses; nothing at most times.

    Raises errors of the API server.
    """
    due, before = _looks.get(cni_dir, (time.monotonic() + _SOON, frozenset[str]()))
    if time.monotonic() < due:
        _looks[cni_dir] = due, before
        return
    _looks[cni_dir] = time.monotonic() + _SOON, before
    every = api.select(BLOCKS, {}, deadline)
    # Read after the list: a folder is older than what the API server knows of it.
    folders = [folder for home in homes(cni_dir) for folder in home.folders()]
    known = {block.store for folder in folders if (block := folder.read())}
    lost = {
        text: ref
        for wire in every
        for text, ref, holder in _held(wire)
        if holder.node == api.node and holder.store not in known
    }
    found = frozenset(lost)
    _looks[cni_dir] = time.monotonic() + (_SOON if found - before else _SELDOM), found
    for text in sorted(found & before):
        yield (
            f"{lost[text]}: this node has {text}, and nothing in {cni_dir} says which pods have the"
            f" addresses: when none has, 'multus ipam release --force {text}' frees them"
        )


def _held(wire: Mapping[str, Any]) -> Iterator[tuple[str, str, Holder]]:
    """What of a block is held: the network or the address, the object, and who holds it."""
    ref, spec = str(ref_of(wire)), wire.get("spec")
    if isinstance(spec, dict):
        yield str(spec.get("block")), ref, holder_of(wire)
    yield from ((text, ref, each) for text, each in lent_of(wire).items())
