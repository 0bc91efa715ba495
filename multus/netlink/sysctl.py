"""Network sysctls, read and written in the calling thread's network namespace.

``with namespace.entered(): sysctl.write(…)`` does it in another one.  A name is a path below
``/proc/sys/net`` with slashes, since an interface's name may have dots:
``"ipv6/conf/eth0.100/accept_ra"``.

Source: proc(5), Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os

from multus.api.errors import InvalidConfig, KernelRefused

_ROOT = "/proc/sys/net/"
_FORBIDDEN = frozenset("\0\n /")


def read(name: str) -> str:
    """The value, without surrounding white space."""
    path = _path(name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096).decode().strip()
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefused(f"cannot read sysctl net/{name}: {error.strerror}") from error


def write(name: str, value: str) -> None:
    """Set the value."""
    path = _path(name)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefused(f"cannot set sysctl net/{name} to {value}: {error.strerror}") from error


def ensure(name: str, value: str) -> bool:
    """Set the value unless it is that already; returns whether it was set.

    ``/proc/sys`` is often mounted read-only, with what is wanted set beforehand.
    """
    if read(name) == value:
        return False
    write(name, value)
    return True


def ensure_if_there(name: str, value: str) -> None:
    """Set the value where this kernel, and this namespace, has the sysctl.

    For what was made a moment ago and has its default: written at once, and read only where it
    cannot be written.
    """
    try:
        write(name, value)
    except KernelRefused:
        if exists(name) and read(name) != value:
            raise


def exists(name: str) -> bool:
    """Whether this kernel, and this namespace, has the sysctl."""
    return os.path.exists(_path(name))


def _path(name: str) -> str:
    for part in name.split("/"):
        if part in ("", ".", "..") or not _FORBIDDEN.isdisjoint(part):
            raise InvalidConfig(f'"{name}" is not the name of a sysctl below net/')
    return _ROOT + name
