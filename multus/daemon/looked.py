"""How a look at a running pod ended: from a worker through the supervisor to the API process."""

from __future__ import annotations

from typing import NamedTuple

#: How many texts of a pod's failures are remembered: they are told once.
MOST_TOLD = 64
#: How a look may end, see ``Looked``.
LOOKED = ("same", "changed", "righted", "refused", "failed", "gone")


class Looked(NamedTuple):
    """How a look ended.

    ``outcome`` is ``same``, ``changed``, ``righted`` (the status alone was written), ``refused``
    (a network is not as it is asked for), ``failed`` or ``gone``; ``told`` are the errors.
    ``wrote`` says that the status was written although no network was changed.
    """

    outcome: str
    told: tuple[str, ...] = ()
    wrote: bool = False
