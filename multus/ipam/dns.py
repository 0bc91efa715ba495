"""DNS settings for a result: from a configuration's ``dns`` object, and from a resolv.conf.

Source: CNI specification 1.1.0, section "ADD Success" (``dns``); resolv.conf(5).
"""

from __future__ import annotations

from multus.api import regular
from multus.api._paths import is_possible
from multus.api.errors import InvalidConfig, IOFailure
from multus.api.reader import Reader
from multus.api.result import DNS

#: The largest file that is read, in bytes; resolvers use three servers and six domains of one.
LARGEST = 64 * 1024


def from_config(reader: Reader) -> DNS:
    """The DNS settings under the key ``dns`` of a configuration; empty when there are none.

    Raises ``InvalidConfig`` when ``dns`` is not an object, or a key in it has another type:
    ``nameservers``, ``search`` and ``options`` are lists of strings, ``domain`` is a string.
    """
    dns = Reader(reader.mapping("dns"), f"{reader.where}: dns")
    return DNS(
        nameservers=tuple(dns.texts("nameservers")),
        domain=dns.text("domain"),
        search=tuple(dns.texts("search")),
        options=tuple(dns.texts("options")),
    )


def from_file(path: str) -> DNS:
    """The DNS settings of the file at *path* (absolute): a regular file or a link to one.

    Of several ``domain`` lines the last one counts; ``search`` and ``options`` lines add up.
    Raises ``InvalidConfig`` for a relative path and a file of more than 64 KiB, ``IOFailure`` for
    one that cannot be read.  Opening never blocks: only regular files are accepted.
    """
    if not is_possible(path):
        raise InvalidConfig(
            f"'resolvConf' is {path!r}",
            fix="use an absolute path",
        )
    try:
        data = regular.read(path, LARGEST + 1, follow=True)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise IOFailure(
            f"reading 'resolvConf' {path!r} failed: {why}",
            fix="correct the path",
        ) from error
    if len(data) > LARGEST:
        raise InvalidConfig(
            f"'resolvConf' {path} has more than {LARGEST} bytes",
            fix="name a file in the form of resolv.conf(5)",
        )
    lines = data.decode(errors="replace").splitlines()
    words = [line.split() for line in lines if not line.lstrip().startswith(("#", ";"))]
    rows = [row for row in words if len(row) > 1]
    domains = [row[1] for row in rows if row[0] == "domain"]
    return DNS(
        nameservers=tuple(row[1] for row in rows if row[0] == "nameserver"),
        domain=domains[-1] if domains else "",
        search=tuple(word for row in rows if row[0] == "search" for word in row[1:]),
        options=tuple(word for row in rows if row[0] == "options" for word in row[1:]),
    )
