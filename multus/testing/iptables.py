"""The programs of one of iptables' interfaces to the kernel, whatever the machine's default is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from multus.netlink import iptables


@contextmanager
def using(kind: str) -> Iterator[None]:
    """Run ``iptables-KIND-restore`` and its kin; *kind* is nft or legacy."""
    before = dict(iptables._FAMILIES)
    try:
        for version, family in before.items():
            iptables._FAMILIES[version] = family._replace(
                save=family.save.replace("tables", f"tables-{kind}"),
                restore=family.restore.replace("tables", f"tables-{kind}"),
            )
        yield
    finally:
        iptables._FAMILIES.update(before)
