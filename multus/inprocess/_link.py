"""The base class of invokers whose attachment is a link in the container."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve

from multus import ipam
from multus.api.errors import CNIError, InvalidConfig
from multus.api.result import DNS, Result
from multus.inprocess._ends import Ends
from multus.inprocess._job import Job, Made, take_back
from multus.inprocess._requested import masquerade_backend, reader_of
from multus.inprocess._together import Together
from multus.ipam.addresses import Address

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.ipam import Ipam
    from multus.netlink import Channel
    from multus.netlink.links import Link

C = TypeVar("C")


class LinkInvoker(Together, Generic[C]):
    """Creates a link with its addresses, routes and rules, and deletes it.

    A subclass sets ``name`` and ``kind``, and overrides `read` and `create`, and of the others what
    differs.  ``C`` is its configuration, a value.

    *transport* sends netlink messages to the kernel; tests inject faults with it.

    Modules that only some verbs or configurations need are imported in the methods, because a
    standalone ADD without rules is the common case.
    """

    #: Whether a network without addresses is refused.
    needs_addresses: bool = False
    #: Whether the keys ``ipMasq`` and ``ipMasqBackend`` have a meaning.
    may_masquerade: bool = False

    # --- What a subclass says -----------------------------------------------------------------

    def read(self, invocation: Invocation) -> C:
        """Read the configuration for ADD; raise ``InvalidConfig`` with the key and the problem."""
        raise NotImplementedError

    def create(self, job: Job[C]) -> Made:
        """Create the link, give it its addresses, and return it."""
        raise NotImplementedError

    def pool(self, invocation: Invocation) -> Ipam | None:
        """The IPAM plugin of the network; None when it gives no addresses."""
        return ipam.for_plugin(invocation)

    def require_usable(self, given: Result, config: C) -> None:
        """Raise when what IPAM gave cannot be used; called before anything is created."""
        if not given.ips:
            raise InvalidConfig(f"the IPAM plugin returned no address: {self.name} needs one")

    def leaves_down(self, config: C) -> bool:
        """Whether ADD does not set the container's interface up, which CHECK then accepts."""
        return False

    def result(self, job: Job[C], made: Made) -> Result:
        """The result of the ADD."""
        return Result(
            interfaces=made.interfaces,
            ips=tuple(evolve(ip, interface=made.at) for ip in job.given.ips),
            routes=job.given.routes,
            dns=self.dns_of(job.config) or job.given.dns,
        )

    def dns_of(self, config: C) -> DNS:
        """The configuration's DNS settings, which replace IPAM's."""
        return DNS()

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        """Raise ``CheckFailed`` for what is particular to this kind of link."""

    def remove_rules(self, invocations: Sequence[Invocation]) -> None:
        """Remove the rules of these attachments of one container, after their links are deleted.

        A subclass with more rules than those of ``ipMasq`` overrides it, and calls this one too.
        """
        masqueraded = [each for each in invocations if self._masquerades(each)]
        if masqueraded:
            from multus.inprocess._detach import addresses_left
            from multus.netlink import iptables, masquerade

            owners = [masquerade.Owner.of(each) for each in masqueraded]
            # Another network's interface may have the same address: theirs are not kept for it.
            theirs = {text for each in masqueraded for text in _addresses(each.prev_result)}
            left = addresses_left(invocations[0].request.netns, self._transport) - theirs
            masquerade.remove(owners, left, iptables.Programs.of(invocations[0]))

    def _remove_rules_of(self, invocation: Invocation, given: Result) -> None:
        """Undo an ADD's rules; *given* has its addresses."""
        self.remove_rules([evolve(invocation, prev_result=given)])

    def collect_rules(self, invocation: Invocation) -> None:
        """Remove the rules of the network's attachments that are gone, as `remove_rules`."""
        if self._masquerades(invocation):
            from multus.netlink import iptables, masquerade

            network, valid = str(invocation.config["name"]), invocation.valid_attachments
            masquerade.collect(network, valid, iptables.Programs.of(invocation))

    # --- The verbs ----------------------------------------------------------------------------

    def prepare(self, invocation: Invocation) -> None:
        pool = self._required(invocation)
        if pool is not None:
            pool.prepare()

    def add(self, invocation: Invocation) -> Result:
        config, backend = self.read(invocation), self._backend(invocation)
        pool = self._required(invocation)
        with ExitStack() as undo:
            ends, given = Ends.of(invocation, self._transport), Result()
            if pool is not None:
                given = pool.add()
                undo.callback(take_back, invocation, pool.delete)
                self.require_usable(given, config)
            if backend is not None:
                # Undone after the link: a rule is stale when its address is gone.
                undo.callback(take_back, invocation, self._remove_rules_of, invocation, given)
            job = Job(ends, invocation, config, given, undo)
            made = self.create(job)
            if backend is not None:
                from multus.netlink import iptables, masquerade

                every = [ip.address for ip in job.given.ips]
                owner = masquerade.Owner.of(invocation)
                masquerade.add(owner, every, backend, iptables.Programs.of(invocation))
            result = self.result(job, made)
            undo.pop_all()
        return result

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Detach all links; then remove the rules; then free the addresses."""
        links = self.detach(invocations)
        rules = self._without_rules(invocations)
        return [
            link or rule or self.attempted(self._release, invocation)
            for invocation, link, rule in zip(invocations, links, rules, strict=True)
        ]

    def detach(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Delete the links, within one grace period; returns each one's error, or None.

        A subclass whose links are not deleted overrides it and has no ``kind``.
        """
        from multus.inprocess._detach import Leaving, delete_links

        return delete_links([Leaving(each, self.kind) for each in invocations], self._transport)

    def delete_one(self, invocation: Invocation) -> None:
        error = self.delete([invocation])[0]
        if error is not None:
            raise error

    def check(self, invocation: Invocation) -> None:
        from multus.inprocess._check import attached_link

        pool = self._required(invocation)
        if pool is not None:
            pool.check()
        down_ok = self.leaves_down(self.read(invocation))
        with attached_link(invocation, self.kind, down_ok=down_ok) as (link, host, inside):
            self.require_same(invocation, link, host, inside)

    def status(self, invocation: Invocation) -> None:
        self.read(invocation)
        backend = self._backend(invocation)
        if backend is not None:
            from multus.netlink import masquerade

            masquerade.require_usable(backend)
        pool = self._required(invocation)
        if pool is not None:
            pool.status()

    def gc(self, invocation: Invocation) -> None:
        parts = (self.collect_rules, self._collect_addresses)
        errors = [self.attempted(part, invocation) for part in parts]
        for error in filter(None, errors):
            raise error

    # --- The parts ----------------------------------------------------------------------------

    def _backend(self, invocation: Invocation) -> str | None:
        """The backend of masquerading, "" for the machine's; None when nothing is masqueraded."""
        return masquerade_backend(reader_of(invocation)) if self.may_masquerade else None

    def _required(self, invocation: Invocation) -> Ipam | None:
        pool = self.pool(invocation)
        if pool is None and self.needs_addresses:
            raise InvalidConfig(
                f"network {invocation.config.get('name')!r}: 'ipam' has no 'type': a {self.name}"
                " network needs addresses, for instance of type host-local"
            )
        return pool

    def _release(self, invocation: Invocation) -> None:
        pool = self.pool(invocation)
        if pool is not None:
            pool.delete()

    def _without_rules(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Remove the rules, all at once if possible; returns each one's error, or None."""
        together = self.attempted(self.remove_rules, invocations)
        if together is None or len(invocations) == 1:
            return [together] * len(invocations)
        return [self.attempted(self.remove_rules, [each]) for each in invocations]

    def _collect_addresses(self, invocation: Invocation) -> None:
        pool = self.pool(invocation)
        if pool is not None:
            pool.gc()

    def _masquerades(self, invocation: Invocation) -> bool:
        """Whether rules may exist; never raises: DEL must work with an invalid configuration."""
        asked = invocation.config.get("ipMasq") not in (None, False, "false", "False")
        return self.may_masquerade and asked


def _addresses(result: Result | None) -> set[str]:
    """The addresses (without prefix) of a result, as the kernel shows them."""
    texts = () if result is None else (ip.address.partition("/")[0] for ip in result.ips)
    return {str(Address.parse(text)) for text in texts}
