from __future__ import annotations

from multus.api.conf import Conf
from multus.cni.confs import Confs


def conf(name: str) -> Conf:
    return Conf.from_wire({"name": name, "cniVersion": "1.0.0"})


def test_what_was_kept_is_recalled_by_its_bytes_alone() -> None:
    confs, kept = Confs(), conf("a")
    confs.keep(b"a", kept)
    assert confs.recall(b"a") is kept
    assert confs.recall(b"a ") is None


def test_the_longest_unused_goes_first_and_memory_is_bounded() -> None:
    confs = Confs()
    for number in range(64):
        confs.keep(b"%d" % number, conf(f"n{number}"))
    confs.recall(b"0")
    confs.keep(b"64", conf("n64"))
    assert confs.recall(b"0") is not None
    assert confs.recall(b"1") is None


def test_a_large_one_is_not_kept() -> None:
    confs = Confs()
    text = b" " * 70_000
    confs.keep(text, conf("large"))
    assert confs.recall(text) is None
