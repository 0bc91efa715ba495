"""Network sysctls, read and written in the calling thread's network namespace.

Use ``with namespace.entered(): sysctl.write(…)`` for another namespace.  A name is a path below
``/proc/sys/net`` with slashes, because an interface's name may have dots:
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
    path, data = _path(name), _bytes(value, f"the value of sysctl net/{name}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelRefused(f"cannot set sysctl net/{name} to {value}: {error.strerror}") from error


def ensure(name: str, value: str) -> bool:
    """Set the value unless it is already set; returns whether it was changed.

    ``/proc/sys`` is often mounted read-only with the value set beforehand, so it is read first.
    """
    if read(name) == value:
        return False
    write(name, value)
    return True


def ensure_if_there(name: str, value: str) -> None:
    """Set the value if the kernel and the namespace have the sysctl.

    For an interface that was just created and has default values: the value is written at once, and
    read only when writing fails.
    """
    try:
        write(name, value)
    except KernelRefused:
        if exists(name) and read(name) != value:
            raise


def exists(name: str) -> bool:
    """Whether the kernel and the namespace have the sysctl."""
    return os.path.exists(_path(name))


def _path(name: str) -> str:
    for part in name.split("/"):
        if part in ("", ".", "..") or not _FORBIDDEN.isdisjoint(part):
            raise InvalidConfig(f"{name!r} is not the name of a sysctl below net/")
    _bytes(name, "the name of a sysctl")
    return _ROOT + name


def _bytes(text: str, what: str) -> bytes:
    # JSON can contain an unpaired surrogate, which has no bytes.
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidConfig(f"{what} is {text!r}", fix="correct it") from None
