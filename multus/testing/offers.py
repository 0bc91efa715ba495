"""What a plugin's hook ``multus_invoker`` offers, for its tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multus.api.invoker import Declined, Invoker
from multus.testing.invocation import Caller

#: Keys that any configuration may have.
_COMMON: Mapping[str, Any] = {"capabilities": {}, "runtimeConfig": {}, "dns": {}}


def require_offered(
    hook: Callable[..., Invoker | Declined | None], *configs: Mapping[str, Any]
) -> None:
    """Assert that each of *configs* is served, and declined with a key that the plugin has not.

    Each has all keys of one type.  A type that is not the plugin's has to be left to others.
    """

    def offer(config: Mapping[str, Any]) -> Invoker | Declined | None:
        asked = Caller().invocation("ADD", {**_COMMON, **config})
        return hook(plugin=asked.plugin, delegate=asked.delegate, conf=asked.conf)

    for config in configs:
        offered, declined = offer(config), offer({**config, "unknownKey": 1})
        assert isinstance(offered, Invoker), offered
        assert offered.name == config["type"]
        assert isinstance(declined, Declined), declined
        assert "'unknownKey'" in declined.reason
    for kind in ("", "x", configs[0]["type"].upper()):
        assert offer({**configs[0], "type": kind}) is None
