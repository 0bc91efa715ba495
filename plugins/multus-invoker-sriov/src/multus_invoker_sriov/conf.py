"""The configuration of type ``sriov``: the plugin of 2017 and today's, read into one value.

Sources: the READMEs of intel/sriov-cni (2017) and k8snetworkplumbingwg/sriov-cni
(``docs/configuration-reference.md``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from multus.api.errors import InvalidConfig
from multus.api.hardware import hardware_address
from multus.api.names import interface_problem
from multus.api.reader import Reader
from multus.api.result import DNS
from multus.ipam import dns as dns_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from multus.api.network import Invocation
    from multus_invoker_sriov.vf import VfState

#: The default of ``cniDir`` in both plugins: the folder of locks, marks and records.
DIRECTORY = "/var/lib/cni/sriov"

_FIRST = frozenset(["if0", "if0name", "l2enable", "dpdk", "cniDir"])
_TODAY = frozenset(
    [
        "deviceID",
        "pciBusID",
        "vlanQoS",
        "vlanProto",
        "mac",
        "spoofchk",
        "trust",
        "link_state",
        "min_tx_rate",
        "max_tx_rate",
        "logLevel",
        "logFile",
    ]
)
#: Keys that only the node's owner may set: the folder, the log file and its level.
NODE_KEYS = frozenset(["cniDir", "logFile", "logLevel"])
#: The supported keys; with any other, the binary is run.
KEYS = _FIRST | _TODAY | {"vlan", "ipam", "dns"}

PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
LINK_STATES = {"auto": 0, "enable": 1, "disable": 2}
_SWITCH = {"on": True, "off": False}

#: The first plugin refused these for ``if0name``: the runtime's, its second network's, loopback.
_TAKEN_NAMES = ("eth0", "eth1", "lo")

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_DRIVER = re.compile(r"[A-Za-z0-9_\-]+")


@frozen
class Dpdk:
    """Names of drivers: the VF's driver on the host, and the one for a DPDK application."""

    kernel_driver: str
    dpdk_driver: str


@frozen
class SriovConf:
    """The requested attributes; an attribute of the VF that is None is not changed.

    Either ``device`` is set, the VF's PCI address, or ``pf``, the interface of a card of which any
    free VF is used.  ``ifname`` is the interface in the container.  Rates are in Mbit/s.
    """

    device: str
    pf: str
    ifname: str
    vlan: int | None = None
    qos: int = 0
    proto: int = PROTOCOLS["802.1q"]
    mac: str = ""
    spoofchk: bool | None = None
    trust: bool | None = None
    link_state: int | None = None
    min_rate: int | None = None
    max_rate: int | None = None
    layer2: bool = False
    dpdk: Dpdk | None = None
    dns: DNS = field(factory=DNS)

    @classmethod
    def read(cls, invocation: Invocation) -> SriovConf:
        """Read and check the configuration; raises ``InvalidConfig``."""
        reader = _reader(invocation)
        device = _device(invocation, reader)
        pf = _interface(reader, "if0")
        if not device and not pf:
            raise InvalidConfig(
                "VF pci addr is required",
                where=reader.where,
                fix="give 'deviceID' (a VF's PCI address) or 'if0' (a card's interface)",
            )
        name = _interface(reader, "if0name")
        if name in _TAKEN_NAMES:
            raise reader.error(
                "if0name", f"is {name!r}, which other networks use", "choose another"
            )
        vlan, qos, proto = _vlan(reader)
        low, high = _rates(reader)
        return cls(
            device=device,
            pf="" if device else pf,
            ifname=name or invocation.ifname,
            vlan=vlan,
            qos=qos,
            proto=proto,
            mac=_mac(invocation, reader),
            spoofchk=_choice(reader, "spoofchk", _SWITCH),
            trust=_choice(reader, "trust", _SWITCH),
            link_state=_choice(reader, "link_state", LINK_STATES),
            min_rate=low,
            max_rate=high,
            layer2=reader.boolean("l2enable"),
            dpdk=_dpdk(reader),
            dns=dns_of.from_config(reader),
        )

    @property
    def attributes(self) -> frozenset[str]:
        """The names of the VF's attributes to set, see ``vf.ATTRIBUTES``."""
        given = {
            "vlan": self.vlan is not None,
            "mac": bool(self.mac),
            "rate": self.min_rate is not None or self.max_rate is not None,
            "spoofchk": self.spoofchk is not None,
            "trust": self.trust is not None,
            "link_state": self.link_state is not None,
        }
        return frozenset(name for name, wanted in given.items() if wanted)

    def applied_to(self, state: VfState) -> VfState:
        """*state* with the requested attributes."""
        changes: dict[str, Any] = {}
        if self.vlan is not None:
            changes.update(vlan=self.vlan, qos=self.qos, proto=self.proto)
        if "rate" in self.attributes:
            # When only one rate is set, the other has no limit.
            changes.update(min_rate=self.min_rate or 0, max_rate=self.max_rate or 0)
        for name in ("mac", "spoofchk", "trust", "link_state"):
            if name in self.attributes:
                changes[name] = getattr(self, name)
        return evolve(state, **changes)


def directory(invocation: Invocation) -> str:
    """The folder of the locks, marks and records."""
    reader = _reader(invocation)
    path = reader.text("cniDir") or DIRECTORY
    if not path.startswith("/"):
        raise reader.error("cniDir", f"is {path!r}", "use an absolute path")
    return path.rstrip("/")


def has_ipam(invocation: Invocation) -> bool:
    """Whether addresses are assigned: not with the first plugin's ``l2enable`` or ``dpdk``."""
    reader = _reader(invocation)
    return not reader.boolean("l2enable") and not reader.mapping("dpdk")


def _reader(invocation: Invocation) -> Reader:
    return Reader(invocation.config, f"network {invocation.config.get('name')!r}, type 'sriov'")


def _device(invocation: Invocation, reader: Reader) -> str:
    runtime = Reader(reader.mapping("runtimeConfig"), f"{reader.where}: runtimeConfig")
    device = (runtime.text("deviceID") or reader.text("deviceID")).lower()
    if device and not _PCI.fullmatch(device):
        raise reader.error(
            "deviceID", f"is {device!r}, not a PCI address", "write it as 0000:03:02.1"
        )
    return device


def _interface(reader: Reader, key: str) -> str:
    name = reader.text(key)
    problem = interface_problem(name) if name else None
    if problem:
        raise reader.error(key, f"{problem}", "use an interface's name")
    return name


def _vlan(reader: Reader) -> tuple[int | None, int, int]:
    given = [key for key in ("vlanQoS", "vlanProto") if reader.raw.get(key) is not None]
    if reader.raw.get("vlan") is None:
        if given:
            raise InvalidConfig(
                f"'{given[0]}' needs 'vlan'",
                where=reader.where,
                fix="add it",
            )
        return None, 0, PROTOCOLS["802.1q"]
    vlan, qos = reader.integer("vlan"), reader.integer("vlanQoS")
    proto = reader.text("vlanProto", "802.1q").lower()
    _within(reader, "vlan", vlan, 4094)
    _within(reader, "vlanQoS", qos, 7)
    if proto not in PROTOCOLS:
        raise reader.error("vlanProto", f"is {proto!r}", "use 802.1q or 802.1ad")
    if vlan == 0 and (qos or proto == "802.1ad"):
        raise InvalidConfig(
            f"{reader.where}: 'vlan' 0 means no VLAN, so 'vlanQoS' must be 0 and 'vlanProto' 802.1q"
        )
    return vlan, qos, PROTOCOLS[proto]


def _within(reader: Reader, key: str, value: int, top: int) -> None:
    if not 0 <= value <= top:
        raise reader.error(key, f"is {value}", f"use a number from 0 to {top}")


def _rates(reader: Reader) -> tuple[int | None, int | None]:
    low = reader.integer("min_tx_rate") if reader.raw.get("min_tx_rate") is not None else None
    high = reader.integer("max_tx_rate") if reader.raw.get("max_tx_rate") is not None else None
    _within(reader, "min_tx_rate", low or 0, 2**32 - 1)
    _within(reader, "max_tx_rate", high or 0, 2**32 - 1)
    if low and high and low > high:
        raise reader.error("min_tx_rate", f"{low} is above 'max_tx_rate' {high}", "exchange them")
    return low, high


def _mac(invocation: Invocation, reader: Reader) -> str:
    """The MAC: the runtime's, else that of CNI_ARGS, else the configuration's."""
    runtime = Reader(reader.mapping("runtimeConfig"), f"{reader.where}: runtimeConfig")
    candidates = (runtime.text("mac"), invocation.args.get("MAC", ""), reader.text("mac"))
    given = next((candidate for candidate in candidates if candidate), "")
    mac = hardware_address(given)
    if given and not _names_one(mac):
        raise InvalidConfig(
            f"MAC {given!r} is not a unicast hardware address",
            where=reader.where,
            fix="write six bytes in hexadecimal, not multicast, not all zero",
        )
    return "" if mac is None else mac.hex(":")


def _names_one(mac: bytes | None) -> bool:
    """Whether it is a unicast address of six bytes: not multicast, not all zero."""
    return mac is not None and len(mac) == 6 and any(mac) and not mac[0] & 1


def _choice(reader: Reader, key: str, values: Mapping[str, Any]) -> Any:
    text = reader.text(key)
    if text and text not in values:
        raise reader.error(key, f"is {text!r}", f"use {' or '.join(values)}")
    return values[text] if text else None


def _dpdk(reader: Reader) -> Dpdk | None:
    if not reader.mapping("dpdk"):
        return None
    each = Reader(reader.mapping("dpdk"), f"{reader.where}: dpdk")
    for key in ("kernel_driver", "dpdk_driver"):
        if not _DRIVER.fullmatch(each.text(key)):
            raise each.error(
                key, f"is {each.text(key)!r}", "give a driver's name, such as iavf or vfio-pci"
            )
    return Dpdk(each.text("kernel_driver"), each.text("dpdk_driver"))
