"""Commands of iptables, carried out over netlink as its nf_tables variant does::

    command = _xtread.read(4, "-A OUTPUT -d 10.1.2.3/32 -j ACCEPT")
    reason = _xtwrite.apply(nftables.Table(nftables.IPV4, "nat"), [command])

All of them are one transaction, or none is carried out.  What was read for it must not have changed
meanwhile: the transaction names the generation of the rules.  Programs of this variant take no lock
either.

Source: linux/netfilter/nf_tables.h; what iptables 1.8.9 and 1.8.11 leave in the kernel.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

from multus.netlink import nftables
from multus.netlink import nftexpressions as nft
from multus.netlink._channel import Channel, Refused
from multus.netlink._xtread import Command
from multus.netlink.wire import Message

#: Table nat's chains that the kernel calls, and where.
_HOOKED = {
    "PREROUTING": (nftables.PREROUTING, nftables.DESTINATION_NAT),
    "INPUT": (nftables.INPUT, nftables.SOURCE_NAT),
    "OUTPUT": (nftables.OUTPUT, nftables.DESTINATION_NAT),
    "POSTROUTING": (nftables.POSTROUTING, nftables.SOURCE_NAT),
}
_ATTEMPTS = 20


def apply(table: nftables.Table, commands: Sequence[Command]) -> str:
    """Carry out these commands in table nat: all of them, or none.  Returns why it did not, or "".

    A ``-C`` whose rule is there in another form than ours is one that is not carried out.
    """
    expected = [each for each in commands if each.option == "-C"]
    changes = [each for each in commands if each.option != "-C"]

    def once(channel: Channel) -> str:
        generation = nftables.generation_of(channel) if expected and changes else 0
        node = _Node(channel, table, commands)
        missing = [each.chain for each in expected if not node.has(each)]
        if missing:
            return f"chain {missing[0]} lacks a rule"
        nftables.commit(channel, node.messages(changes), generation)
        return ""

    return _repeated(once, (errno.ERESTART,))


def ensure(
    table: nftables.Table,
    commands: Sequence[Command],
    alone: Callable[[], AbstractContextManager[None]],
) -> str:
    """Carry out those of the commands (-N, -A, -I) whose chain or rule is not there, as `apply`.

    *alone* excludes programs that add what is missing.
    """

    def once(channel: Channel) -> str:
        generation = nftables.generation_of(channel)
        node = _Node(channel, table, commands)
        missing = [each for each in commands if not node.has(each)]
        # The kernel refuses a new chain that has come meanwhile, and with it all of them.
        new = len(missing) == len(commands) and not node.listed
        shared = any(each.chain in node.listed for each in missing)
        with alone() if shared else nullcontext():
            nftables.commit(channel, node.messages(missing), 0 if new else generation)
        return ""

    return _repeated(once, (errno.ERESTART, errno.EEXIST))


def _repeated(once: Callable[[Channel], str], changed: Collection[int]) -> str:
    """The answer of *once*, which is called again when the kernel says that the rules changed."""
    attempts = 0
    while True:
        attempts += 1
        try:
            with nftables.channel() as channel:
                return once(channel)
        except _Unexpected as error:
            return str(error)
        except Refused as error:
            if error.errno not in changed or attempts == _ATTEMPTS:
                return error.said


class _Unexpected(Exception):
    """A chain that iptables would not have made."""


class _Node:
    """What is in the kernel of the chains that these commands name."""

    def __init__(
        self, channel: Channel, table: nftables.Table, commands: Sequence[Command]
    ) -> None:
        self.listed: dict[str, list[nftables.Rule]] = {}
        self._channel = channel
        self._table = table
        named = [each for command in commands for each in (command.chain, command.target)]
        names = list(filter(None, dict.fromkeys(named)))
        replies = channel.request([table.get_chain(each) for each in names])
        self._chains = dict(zip(names, replies, strict=True))

    def has(self, command: Command) -> bool:
        """Whether the chain of a -N exists, or the rule of another command."""
        there = self._chains[command.chain] is not None
        if command.option == "-N" or not there:
            return there
        if command.target and self._chains[command.target] is None:
            return False
        rules = self._list(command.chain)
        return any(nft.are_listed(rule.body, command.expressions) for rule in rules)

    def messages(self, commands: Sequence[Command]) -> list[Message]:
        """The changes, after those that make what iptables makes when it is missing.

        Raises ``_Unexpected`` when a chain is not the one that iptables makes.
        """
        table = self._table
        messages = [table.add()] if commands else []
        for chain in dict.fromkeys(each.chain for each in commands):
            messages += self._hooked(chain)
        for each in commands:
            if each.option == "-N":
                messages.append(table.add_chain(each.chain, new=True))
                continue
            first = each.option == "-I"
            messages.append(
                table.add_rule(each.chain, each.expressions, first=first, protocol=each.protocol)
            )
        return messages

    def _list(self, chain: str) -> list[nftables.Rule]:
        if chain not in self.listed:
            self.listed[chain] = self._table.list_rules(self._channel, chain)
        return self.listed[chain]

    def _hooked(self, chain: str) -> list[Message]:
        if chain not in _HOOKED:
            return []
        hook, priority = _HOOKED[chain]
        reply = self._chains[chain]
        if reply is None:
            return [self._table.add_base_chain(chain, kind="nat", hook=hook, priority=priority)]
        # It is not added again: a change of such a chain waits for a grace period.
        if nftables.hook_of(reply) != ("nat", hook, priority):
            raise _Unexpected(
                f"chain {chain} of table {self._table.name} is not the one of iptables"
            )
        return []
