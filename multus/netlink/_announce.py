"""Announce an address to the hosts on a link: gratuitous ARP, unsolicited neighbour advertisement.

Source: RFC 5227, section 3 (ARP announcement); RFC 4861, sections 4.4 and 7.2.6 (unsolicited
neighbour advertisement).
"""

from __future__ import annotations

import struct

from multus.api.errors import KernelRefused
from multus.netlink._namespace import Namespace
from multus.netlink._socket import socket
from multus.netlink.addresses import encode
from multus.netlink.links import encode_mac

_ETH_P_IPV6 = 0x86DD
_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
_OVERRIDE = 0x20000000


def announce(namespace: Namespace, interface: str, mac: str, address: str) -> None:
    """Announce to all hosts on the interface's link that ``mac`` has ``address``.

    ``address`` may have a prefix length.  One frame is sent through a packet socket, so the address
    may still be tentative.  Raises `KernelRefused` when the interface is down or missing.
    """
    family, packed, _prefix = encode(address)
    hardware = encode_mac(mac)
    frame = _arp(hardware, packed) if family == socket.AF_INET else _advertisement(hardware, packed)
    try:
        with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((interface, 0))
            sock.send(frame)
    except OSError as error:
        raise KernelRefused(
            f"cannot announce {address} on {interface} in {namespace.path}: {error.strerror}"
        ) from error


def _arp(mac: bytes, address: bytes) -> bytes:
    head = _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP)
    # Ethernet, IPv4, a request: RFC 5227 announces with requests, which every stack accepts.
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return head + fixed + mac + address + bytes(6) + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    option = struct.pack("!BB", 2, 1) + mac  # target link-layer address, in units of 8 bytes
    rest = struct.pack("!I", _OVERRIDE) + address + option
    pseudo = address + _ALL_NODES + struct.pack("!II", 4 + len(rest), socket.IPPROTO_ICMPV6)
    checksum = _checksum(pseudo + struct.pack("!BBH", 136, 0, 0) + rest)
    payload = struct.pack("!BBH", 136, 0, checksum) + rest
    # A receiver drops it unless the hop limit is 255, which proves that it came from this link.
    header = struct.pack("!IHBB", 6 << 28, len(payload), socket.IPPROTO_ICMPV6, 255)
    frame = _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_P_IPV6)
    return frame + header + address + _ALL_NODES + payload


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
