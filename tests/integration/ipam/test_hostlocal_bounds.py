"""No configuration can make host-local wait for ever or compute for long."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from waiting import PATIENCE
from work import calls

from multus import ipam
from multus.api.errors import AddressesExhausted, InvalidConfig, TryAgainLater
from multus.api.network import Invocation, Provenance
from multus.ipam import store
from multus.ipam._ranges import Range, overlapping
from multus.testing.invocation import Caller
from multus.testing.session import new_session

if TYPE_CHECKING:
    from integration.ipam.conftest import Bench

ONE = {"type": "host-local", "subnet": "10.1.0.0/24"}
MANY = [{"subnet": f"10.{n >> 8}.{n & 255}.0/24"} for n in range(4000)]


class TestLock:
    def _held(self, bench: Bench) -> int:
        folder = bench.root / "shared" / "net1"
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    @pytest.mark.parametrize("verb", ["add", "delete", "check", "gc"])
    def test_is_waited_for_until_the_deadline(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        monkeypatch.setattr(store, "PATIENCE", 600.0)
        fd = self._held(bench)
        pool = ipam.for_plugin(self._invocation(bench, verb, 0.2))
        assert pool is not None
        began = time.monotonic()
        with pytest.raises(TryAgainLater) as caught:
            getattr(pool, verb)()
        assert time.monotonic() - began < PATIENCE
        for part in (str(bench.root / "shared" / "net1" / "lock"), f"process {os.getpid()} "):
            assert part in caught.value.msg
        os.close(fd)

    def test_is_waited_for_ten_seconds_at_most(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert store.PATIENCE == 5.0
        monkeypatch.setattr(store, "PATIENCE", 0.1)
        fd = self._held(bench)
        for seconds in (None, 1000.0):
            pool = ipam.for_plugin(self._invocation(bench, "add", seconds))
            assert pool is not None
            with pytest.raises(TryAgainLater):
                pool.add()
        os.close(fd)

    def test_is_tried_once_when_the_time_is_up_and_free(self, bench: Bench) -> None:
        config = bench.config(ONE)
        bench.ours.add(Caller(), config)
        pool = ipam.for_plugin(self._invocation(bench, "delete", -5.0))
        assert pool is not None
        pool.delete()
        assert [name for name in bench.files() if name[0].isdigit()] == []

    def _invocation(self, bench: Bench, verb: str, seconds: float | None) -> Invocation:
        deadline = None if seconds is None else time.monotonic() + seconds
        session = new_session(deadline=deadline)
        return Caller().invocation(verb.upper(), bench.config(ONE), session=session)


class TestSizes:
    @pytest.mark.parametrize(
        ("pool", "key"),
        [
            ({"ranges": [[each] for each in MANY]}, "ranges"),
            ({"ranges": [MANY]}, "ranges"),
            ({**ONE, "routes": [{"dst": "10.0.0.0/8"}] * 100_000}, "routes"),
        ],
        ids=["range sets", "ranges", "routes"],
    )
    def test_long_lists_are_refused_at_once(
        self, bench: Bench, pool: dict[str, Any], key: str
    ) -> None:
        config = bench.config({"type": "host-local", **pool})
        assert len(json.dumps(config)) > 100_000

        def add() -> None:
            with pytest.raises(InvalidConfig, match=f"'{key}' has [0-9]+ entries, at most"):
                bench.ours.add(Caller(), config)

        # A range that is read takes some 350 calls.
        most = 20 * max(len(MANY), len(pool.get("routes", ())))
        assert calls(add) < most
        assert calls(lambda: bench.ours.delete(Caller(), config)) < most

    @pytest.mark.parametrize("key", ["mtu", "advmss", "priority", "table", "scope"])
    @pytest.mark.parametrize("number", [-1, 2**32, 10**400])
    def test_a_routes_numbers_are_those_of_the_kernel(
        self, bench: Bench, key: str, number: int
    ) -> None:
        config = bench.config({**ONE, "routes": [{"dst": "10.0.0.0/8", key: number}]})
        with pytest.raises(InvalidConfig, match=rf"routes\[0\]: '{key}' is .* from 0 to"):
            bench.ours.add(Caller(), config)
        config = bench.config({**ONE, "routes": [{"dst": "10.0.0.0/8", key: 255}]})
        bench.ours.add(Caller(), config)

    @pytest.mark.parametrize("key", ["addresses", "ips"])
    def test_long_lists_of_addresses_are_refused(self, bench: Bench, key: str) -> None:
        listed = [f"10.1.{n >> 8}.{n & 255}/16" for n in range(5000)]
        pool: dict[str, Any] = {"type": "static"}
        more: dict[str, Any] = {}
        if key == "ips":
            more = {"args": {"cni": {"ips": listed}}}
        else:
            pool["addresses"] = [{"address": each} for each in listed]
        with pytest.raises(InvalidConfig, match=f"'{key}' has 5000 entries"):
            bench.ours.add(Caller(), bench.config(pool, **more))

    def test_the_most_that_is_allowed_is_little_work(self, bench: Bench) -> None:
        sets = [[{"subnet": f"10.{a}.{b}.0/24"} for b in range(4)] for a in range(64)]
        config = bench.config({"type": "host-local", "ranges": sets})
        assert calls(lambda: bench.ours.add(Caller(), config)) < 400 * 64 * 4

    def test_overlaps_are_found_by_sorting(self) -> None:
        many = [
            Range.from_wire({"subnet": f"10.{n >> 8}.{n & 255}.0/24"}, "r") for n in range(20_000)
        ]
        assert calls(lambda: overlapping(many)) < 10 * len(many)
        assert overlapping(many) is None
        assert overlapping([*many, many[7]]) == (7, 20_000)

    def test_a_full_range_is_given_up_at_the_deadline(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = bench.config({"type": "host-local", "subnet": "10.0.0.0/8"})
        bench.ours.add(Caller(), config)
        monkeypatch.setattr(store.Ledger, "reserve", lambda *_: False)
        session = new_session(deadline=time.monotonic() + 0.1)
        pool = ipam.for_plugin(Caller("c2").invocation("ADD", config, session=session))
        assert pool is not None
        began = time.monotonic()
        with pytest.raises(TryAgainLater, match=r"10\.0\.0\.1-10\.255\.255\.254"):
            pool.add()
        assert time.monotonic() - began < PATIENCE

    @pytest.mark.parametrize("verb", ["ADD", "CHECK", "GC", "DEL"])
    def test_a_large_store_is_read_until_the_deadline(self, bench: Bench, verb: str) -> None:
        folder = bench.root / "shared" / "net1"
        folder.mkdir(parents=True)
        for number in range(2048):
            (folder / f"10.1.{number >> 8}.{number & 255}").write_text("other\r\neth0")
        session = new_session(deadline=time.monotonic() - 1.0)
        pool = ipam.for_plugin(Caller().invocation(verb, bench.config(ONE), session=session))
        assert pool is not None
        if verb == "DEL":
            pool.delete()  # frees addresses also when the time of the ADD has run out
            return
        with pytest.raises(TryAgainLater, match="could not be read in time"):
            getattr(pool, verb.lower())()

    def test_an_exhausted_range_of_many_ranges_is_little_work(self, bench: Bench) -> None:
        pool = [{"subnet": f"10.1.{n}.0/30", "rangeEnd": f"10.1.{n}.2"} for n in range(250)]
        config = bench.config({"type": "host-local", "ranges": [pool]})
        folder = bench.root / "shared" / "net1"
        folder.mkdir(parents=True)
        for number in range(250):
            (folder / f"10.1.{number}.2").write_text("other\r\neth0")

        def add() -> None:
            with pytest.raises(AddressesExhausted, match="250 of 250"):
                bench.ours.add(Caller(), config)

        assert calls(add) < 400 * len(pool)


class TestNames:
    @pytest.mark.parametrize("name", ["::ffff:10.1.0.9", "FD00::9", "010.1.0.9", "10.1.9", "abcd"])
    def test_only_an_address_as_it_is_written_is_one(self, bench: Bench, name: str) -> None:
        folder = bench.root / "shared" / "net1"
        folder.mkdir(parents=True)
        (folder / name).write_text("c1\r\neth0")
        config = bench.config(ONE)
        bench.ours.add(Caller(), config)
        bench.ours.delete(Caller(), config)
        pool = ipam.for_plugin(Caller().invocation("GC", config))
        assert pool is not None
        pool.gc()
        assert bench.files()[name] == "c1\r\neth0"

    def test_the_references_spelling_of_ipv6_is_ours(self, bench: Bench) -> None:
        pool = {"type": "host-local", "ranges": [[{"subnet": "fd00:0:0:1::/64"}]]}
        config = bench.config(pool)
        bench.reference.add(Caller(), config)
        bench.ours.delete(Caller(), config)
        assert [name for name in bench.files() if ":" in name] == []


class TestPlaces:
    """A tenant's path within ``tenantPaths`` is served in-process, any other by the binary."""

    def _pool(self, bench: Bench, verb: str, **conf: Any) -> ipam.Ipam:
        caller = Caller(provenance=Provenance.TENANT, conf=conf)
        pool = ipam.for_plugin(caller.invocation(verb, bench.config(ONE)))
        assert pool is not None
        return pool

    def test_elsewhere_is_the_binarys_and_said(self, bench: Bench) -> None:
        pool = self._pool(bench, "ADD")
        assert (pool.name, pool.reason) == (
            "exec",
            f"key 'dataDir' of 'ipam', which is '{bench.root}/shared', outside"
            " 'tenantPaths.dataDir'",
        )

    def test_what_is_open_is_served(self, bench: Bench) -> None:
        opened = {"tenantPaths": {"dataDir": [str(bench.root)]}}
        assert self._pool(bench, "ADD", **opened).name == "host-local"

    def test_either_undoes_what_the_other_did(self, bench: Bench) -> None:
        opened = {"tenantPaths": {"dataDir": [str(bench.root)]}}
        for first, second in (({}, opened), (opened, {})):
            self._pool(bench, "ADD", **first).add()
            assert "10.1.0.2" in bench.files() or "10.1.0.3" in bench.files()
            self._pool(bench, "DEL", **second).delete()
            assert [name for name in bench.files() if name[0].isdigit()] == []

    @pytest.mark.parametrize("conf", ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", ""])
    def test_the_usual_places_are_open(self, conf: str) -> None:
        pool = {**ONE, "dataDir": "/var/lib/cni/networks/a", "resolvConf": conf}
        caller = Caller(provenance=Provenance.TENANT)
        served = ipam.for_plugin(caller.invocation("ADD", {"type": "ptp", "ipam": pool}))
        assert served is not None
        assert served.name == "host-local"

    @pytest.mark.parametrize("key", ["dataDir", "resolvConf"])
    @pytest.mark.parametrize("path", ["/etc", "/var/lib/cni/networks/../..", "/var/lib//cni"])
    def test_others_are_not(self, key: str, path: str) -> None:
        caller = Caller(provenance=Provenance.TENANT)
        config = {"type": "ptp", "ipam": {**ONE, key: path}}
        pool = ipam.for_plugin(caller.invocation("ADD", config))
        assert pool is not None
        assert pool.name == "exec" and key in pool.reason
