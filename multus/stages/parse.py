"""Parse: what stood on stdin becomes a configuration that can be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus import log
from multus.errors import InvalidConfig
from multus.model.conf import Conf, Problem

if TYPE_CHECKING:
    from multus.plugins import Installed

#: The words users know from Multus' first days.
DEFAULT_NEEDS_BOTH = (
    "If you have set always_use_default, you must also set the delegates & the kubeconfig, refer"
    " to the README"
)


def parse(raw: Mapping[str, Any]) -> Conf:
    """Read the engine's keys of a decoded configuration.

    Raises ``InvalidConfig`` (7) and ``IncompatibleVersion`` (1).
    """
    return Conf.from_wire(raw)


def validate(conf: Conf, installed: Installed) -> None:
    """Ask every plugin whether its keys are right, and whether all that are named are there.

    Raises ``InvalidConfig`` with the first problem in the message and the others in the details.
    """
    broken = installed.needed_but_broken(conf.raw)
    if broken is not None:
        raise InvalidConfig(
            f"configuration {conf.name!r} needs a plugin that cannot be loaded: {broken}:"
            f" reinstall {broken.entry.distribution}, or name it in 'blockedPlugins'"
        )
    offers_default = conf.raw.get("delegates") or conf.raw.get("clusterNetwork")
    if conf.always_use_default and not (offers_default and conf.raw.get("kubeconfig")):
        raise InvalidConfig(DEFAULT_NEEDS_BOTH)
    problems = [Problem(*each) for each in log.problems(conf.raw)] + installed.hooks.validate(conf)
    if problems:
        raise InvalidConfig(
            f"configuration {conf.name!r}: {problems[0]}",
            "; ".join(map(str, problems[1:])),
        )
