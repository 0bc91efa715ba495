"""The modules that a standalone call loads for SR-IOV."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"pyroute2", "netaddr", "ssl", "asyncio", "subprocess", "logging", "ipaddress", "urllib"}


def test_networks_of_other_types_do_not_load_what_sriov_needs() -> None:
    script = (
        "import sys, multus_invoker_sriov\n"
        "from multus.testing.invocation import Caller\n"
        "each = Caller().invocation('ADD', {'type': 'ptp'})\n"
        "multus_invoker_sriov.multus_invoker(each.plugin, each.delegate, each.conf)\n"
        "print(*sys.modules)"
    )
    loaded = _loaded(script)
    assert not any(name.startswith(("multus.netlink", "multus_invoker_sriov.")) for name in loaded)


def test_an_invoker_loads_nothing_that_costs() -> None:
    script = (
        "import sys, attrs, pluggy; before = set(sys.modules)\n"  # what they load is theirs
        "import multus_invoker_sriov.invoker; print(*set(sys.modules) - before)"
    )
    assert not HEAVY & _loaded(script)


def _loaded(script: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())
