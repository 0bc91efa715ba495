"""Rules written over netlink are those of this machine's iptables; else iptables is run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
from kernel import require_nftables

from multus.api.errors import KernelRefused
from multus.log import Log, Sink
from multus.netlink import Channel, Message, _proof, _xtread, iptables, nftables, wire
from multus.netlink.iptables import Programs
from multus.testing.netns import Node, inside

SAID = r'-m comment --comment "CNI: \"é\""'
USUAL = Programs()
#: As the invokers of this project write them, in both families.
COMMANDS = (
    *("-N CNI-ONE", "-N CNI-TWO", "-N CNI-LAST"),
    f"-A CNI-ONE -d {{net}} {SAID} -j ACCEPT",
    f"-A CNI-ONE -d {{odd}} {SAID} -j ACCEPT",
    f"-A CNI-ONE ! -d {{multicast}} {SAID} -j MASQUERADE",
    f"-A POSTROUTING -s {{one}} {SAID} -j CNI-ONE",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-TWO",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-TWO",
    "-I POSTROUTING -m comment --comment plain -j CNI-LAST",
    "-A CNI-LAST -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    f"-A CNI-TWO {SAID} -j MARK --set-xmark 0x2000/0x2000",
    "-A CNI-TWO -s {net} -d {one} -p tcp -m tcp --dport 8080 -j ACCEPT",
    "-A CNI-TWO -d {one} -p udp -m udp --dport 53 -j DNAT --to-destination {to}:5353",
    f"-A CNI-TWO -p tcp {SAID} -m multiport --dports 80,8080,65535 -s {{one}} -j ACCEPT",
)
VALUES = {
    4: {"one": "10.1.2.3/32", "net": "10.1.2.0/24", "odd": "10.1.0.0/20", "to": "10.1.2.3"},
    6: {"one": "fd00::3/128", "net": "fd00::/64", "odd": "fd00::/61", "to": "[fd00::3]"},
}
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


def commands_of(version: int) -> list[str]:
    return [each.format(multicast=MULTICAST[version], **VALUES[version]) for each in COMMANDS]


@pytest.fixture(autouse=True)
def _iptables_uses_nftables() -> None:
    require_nftables()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node.create("xt")
    yield node
    node.remove()


def by_program(node: Node, version: int, commands: list[str]) -> None:
    program = "iptables-restore" if version == 4 else "ip6tables-restore"
    script = "\n".join(["*nat", *commands, "COMMIT", ""])
    argv = node.command([program, "--noflush"])
    subprocess.run(argv, input=script, text=True, check=True)


def saved(version: int) -> list[str]:
    lines = iptables.saved(version)
    return [each.partition(" [")[0] for each in lines if not each.startswith("#")]


def in_the_kernel(version: int) -> list[tuple[str, list[dict[int, bytes]]]]:
    """Tables, chains and rules with all their bytes, without the handles.

    And without what 1.8.11 has in addition: its chains count what their policy decided.
    """
    family = bytes([nftables.IPV4 if version == 4 else nftables.IPV6, 0, 0, 0])
    found = []
    with nftables.channel() as channel:
        for number, handles in ((1, {4}), (4, {2, 8}), (7, {3, 6})):
            bodies = channel.dump(Message(10 << 8 | number, 0, family, "list"))
            values = [dict(wire.attributes(each, 4)) for each in bodies]
            plain = [{k: v for k, v in each.items() if k not in handles} for each in values]
            # Chains are listed as they came; rules keep their order in a chain.
            found.append(
                (str(number), sorted(plain, key=lambda each: each.get(3 - number // 7, b"")))
            )
    return found


def prime(version: int, programs: Programs = USUAL) -> None:
    """Let this process learn how the program stores rules."""
    iptables.ensure(version, ["-N OURS"], programs=programs)
    iptables.remove_chains({"OURS": "OUTPUT"})


@pytest.mark.parametrize("version", [4, 6])
def test_rules_are_byte_for_byte_those_of_iptables(
    node: Node, run: list[str], version: int
) -> None:
    commands = commands_of(version)
    other = Node.create("xt")
    try:
        by_program(other, version, commands)
        with inside(other):
            theirs = in_the_kernel(version), saved(version)
    finally:
        other.remove()
    with inside(node):
        prime(version)
        run.clear()
        iptables.ensure(version, commands)
        assert run == []
        assert in_the_kernel(version) == theirs[0]
        assert saved(version) == theirs[1]
    # iptables finds and removes them, as its own.
    program = "iptables" if version == 4 else "ip6tables"
    rules = [each for each in commands if not each.startswith("-N")]
    by_program(node, version, [f"-D{each[2:]}" for each in reversed(rules)])
    assert "-A" not in node.run(f"{program}-save", "-t", "nat")


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_there_is_not_added_again_whoever_made_it(
    node: Node, run: list[str], version: int
) -> None:
    commands = commands_of(version)
    with inside(node):
        prime(version)
        by_program(node, version, [each for each in commands if "CNI-ONE" not in each])
        run.clear()
        for _ in range(2):
            iptables.ensure(version, commands)
        iptables.restore(version, [f"-C{each[2:]}" for each in commands if each[1] != "N"])
        assert run == []
        rules = [line for line in saved(version) if line.startswith("-A")]
        assert len(rules) == len(set(rules)) == len(commands) - 3


def test_a_change_by_another_program_meanwhile_is_seen(
    node: Node, run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = ["-A OUTPUT -d 10.1.2.3/32 -j ACCEPT", "-A OUTPUT -d 10.1.2.4/32 -j ACCEPT"]
    original, read = nftables.generation_of, [0]

    def and_then(channel: Channel) -> int:
        found = original(channel)
        if not read[0]:
            by_program(node, 4, commands[:1])
        read[0] += 1
        return found

    with inside(node):
        prime(4)
        by_program(node, 4, ["-A OUTPUT -d 10.1.2.9/32 -j ACCEPT"])
        run.clear()
        monkeypatch.setattr(nftables, "generation_of", and_then)
        iptables.ensure(4, commands)
        iptables.ensure(4, commands)
        assert (read, run) == ([3], [])
        lines = [each for each in saved(4) if each.startswith("-A")]
        assert lines[1:] == commands


def test_a_check_that_fails_changes_nothing(node: Node) -> None:
    with inside(node), pytest.raises(KernelRefused):
        iptables.restore(4, ["-C OUTPUT -d 10.1.2.3/32 -j ACCEPT", "-N CNI-ONE"])
    assert "CNI-ONE" not in node.run("iptables-save", "-t", "nat")


@pytest.fixture
def other_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Programs]]:
    """Makes an iptables that stores a part of a rule in another form."""
    said = tmp_path / "log"

    def make(change: str) -> Programs:
        program = tmp_path / "iptables-restore"
        real = "/usr/sbin/iptables-restore"
        program.write_text(f"#!/bin/sh\n/bin/sed '{change}' | {real} \"$@\"\n")
        program.chmod(0o755)
        monkeypatch.setattr(iptables, "_FOLDERS", (str(tmp_path), "/usr/sbin"))
        log = Log(Sink(path=str(said), stderr=False), "debug")
        return Programs(folder=str(tmp_path), log=log)

    yield make


ACCEPT = "-A OUTPUT -d 10.1.2.3/32 -j ACCEPT"


@pytest.mark.parametrize(
    ("change", "run_for"),
    [
        ("s/-j ACCEPT/-j RETURN/", [ACCEPT]),
        ("s/--dport 53/--dport 54/", ["-A OUTPUT -p tcp -m tcp --dport 1 -j ACCEPT"]),
        ("/-A/s/$/ -m mark --mark 1/", [ACCEPT]),
        ("", ["-A OUTPUT -d 10.1.2.3/32 -j RETURN"]),
        ("", [ACCEPT, "-A OUTPUT -p sctp -j ACCEPT"]),
    ],
)
def test_iptables_is_run_for_what_it_stores_in_another_form(
    node: Node,
    run: list[str],
    other_form: Callable[[str], Programs],
    tmp_path: Path,
    change: str,
    run_for: list[str],
) -> None:
    programs = other_form(change)
    with inside(node):
        prime(4, programs)
        run.clear()
        iptables.ensure(4, run_for, programs=programs)
        assert run == ["iptables-restore"]
        assert "iptables-restore is run: " in (tmp_path / "log").read_text()
        run.clear()
        iptables.ensure(4, ["-N CNI-ONE"], programs=programs)
        assert run == []


def test_another_programs_table_is_left_to_iptables(
    node: Node, run: list[str], other_form: Callable[[str], Programs], tmp_path: Path
) -> None:
    node.run(
        "nft", "add table ip nat; add chain ip nat OUTPUT { type nat hook output priority 5; }"
    )
    programs = other_form("")
    with inside(node), pytest.raises(KernelRefused, match="OUTPUT"):
        iptables.ensure(4, [ACCEPT], programs=programs)
    assert "chain OUTPUT of table nat is not the one" in (tmp_path / "log").read_text()
    assert "accept" not in node.run("nft", "list", "ruleset").replace("policy accept", "")


def test_the_answer_is_kept_until_the_program_changes(
    node: Node,
    run: list[str],
    other_form: Callable[[str], Programs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = other_form("")
    with inside(node):
        iptables.ensure(4, ["-N CNI-ONE"], programs=programs)
        assert run == 2 * ["iptables-restore"]
        for text in (None, "\tbroken", ""):
            if text is not None:
                Path(programs.folder, _proof.FILE).write_text(text)
            monkeypatch.setattr(_proof, "_known", {})
            iptables.ensure(4, ["-N CNI-TWO"], programs=programs)
        assert run == 6 * ["iptables-restore"]
        run.clear()
        other_form("s/ACCEPT/RETURN/")
        iptables.ensure(4, [ACCEPT], programs=programs)
        assert run == 2 * ["iptables-restore"]
        assert len(Path(programs.folder, _proof.FILE).read_text().splitlines()) == 1


def test_a_new_form_has_a_new_edition() -> None:
    """When this fails: increase ``EDITION``, and take the digest of the new form."""
    digest = sha256()
    for version, form in product((4, 6), _xtread.FORMS):
        for group in _proof.samples(version):
            for each in group:
                command = _xtread.read(version, each, form)
                assert command is not None
                digest.update(b"".join(command.expressions))
    assert (_proof.EDITION, digest.hexdigest()[:16]) == (2, "d241e7597b44bdc9")


@pytest.mark.parametrize(
    "text",
    [
        "-X CNI-ONE",
        "-N",
        f"-N {'x' * 29}",
        "-A OUTPUT",
        "-A OUTPUT -d 0.0.0.0/0 -j ACCEPT",
        "-A OUTPUT -d fd00::1/128 -j ACCEPT",
        "-A OUTPUT -d localhost -j ACCEPT",
        "-A OUTPUT -s 10.1.2.3 -s 10.1.2.4 -j ACCEPT",
        "-A OUTPUT ! -p tcp -j ACCEPT",
        "-A OUTPUT -m tcp --dport 80 -j ACCEPT",
        "-A OUTPUT -p udp -m tcp --dport 80 -j ACCEPT",
        "-A OUTPUT -p tcp -m tcp --dport 80:90 -j ACCEPT",
        "-A OUTPUT -p tcp -m tcp --sport 80 -j ACCEPT",
        "-A OUTPUT -p tcp -m tcp --dport 65536 -j ACCEPT",
        "-A OUTPUT -p tcp -m multiport --dports 1,,2 -j ACCEPT",
        f"-A OUTPUT -m comment --comment {'x' * 256} -j ACCEPT",
        '-A OUTPUT -m comment --comment "x -j ACCEPT',
        "-A OUTPUT -m addrtype --dst-type UNICAST -j ACCEPT",
        "-A OUTPUT -m mark --mark 0x1/0xffffffff -j ACCEPT",
        "-A OUTPUT -j LOG",
        "-A OUTPUT -j DNAT --to-destination 10.1.2.3:80",
        "-A OUTPUT -p tcp -j DNAT --to-destination 10.1.2.3",
        "-A OUTPUT -j MARK --set-mark 0x1",
        "-A OUTPUT -d",
    ],
)
def test_what_only_iptables_understands_is_left_to_it(text: str) -> None:
    assert _xtread.read(4, text) is None
