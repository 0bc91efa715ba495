"""A range with blocks that the binary would have to serve: it ignores the key, so it is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import Deadline
from multus_ipam_whereabouts import used
from multus_ipam_whereabouts.conf import Settings
from multus_ipam_whereabouts.whereabouts import Whereabouts

if TYPE_CHECKING:
    from multus.api.invoker import Declined
    from multus.api.network import Invocation
    from multus.api.result import Result

#: The time for the locks of this node's blocks, in seconds.
_FREEING = 4.0


class Unserved(Whereabouts):
    """Refuses an ADD; *declined* says why the configuration is not served here."""

    def __init__(self, invocation: Invocation, declined: Declined) -> None:
        super().__init__(invocation)
        self._why = InvalidConfig(
            f"'block' is not known to the binary, which would have to be run: {declined.reason}",
            where=f"network {invocation.config.get('name')!r}: ipam",
            fix="remove 'block', or what is in its way",
        )

    def add(self) -> Result:
        raise self._why

    def check(self) -> None:
        raise self._why

    def status(self) -> None:
        raise self._why

    def delete(self) -> None:
        """Free what was given out while the configuration was served."""
        with suppress(InvalidConfig):
            settings = Settings.of_add(self.invocation)
            self.free_of_blocks(settings, Deadline.after(_FREEING))
            for each in settings.ranges:
                if not each.block:
                    text = f"range {each.network}: no address is given back"
                    self.invocation.log.error(text, error=self._why)
        used.forget(self.invocation)
