"""``socket`` for the path of a process that is started per call.

Its constants are enumerations, and making these takes as long as making a link; what is needed here
are the numbers, the sockets and the functions beneath, which CPython has in ``_socket``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
else:
    import _socket as socket

__all__ = ["socket"]
