"""Parse: the JSON object on stdin becomes a valid configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus import log
from multus.api import keys
from multus.api.conf import Conf
from multus.api.errors import InvalidConfig, MissingPlugin, either
from multus.api.spelling import spelled
from multus.registry.known import SELECTING

if TYPE_CHECKING:
    from multus.api.problem import Problem
    from multus.api.spelling import Spelling
    from multus.registry.loading import Installed

#: The wording of the Go Multus, which users search for.
DEFAULT_NEEDS_BOTH = (
    "If you have set always_use_default, you must also set the delegates & the kubeconfig, refer"
    " to the README"
)


#: What a DEL and a GC can do without, when it is wrong.
_SPARED = frozenset(key.top for key in keys.OWN if key.spared)


def parse(
    raw: Mapping[str, Any], command: str = "ADD", spelling: Spelling = keys.OWN_SPELLING
) -> Conf:
    """Read the engine's keys of a decoded configuration; *spelling* has the names of all keys.

    A wrong configuration must not prevent the removal of a container: for DEL and GC, a key that is
    wrong and can be spared is left out.  Raises ``InvalidConfig`` (7) and ``IncompatibleVersion``
    (1).
    """
    raw = spelled(raw, spelling)
    try:
        return Conf.from_wire(raw)
    except InvalidConfig:
        if command not in ("DEL", "GC"):
            raise
    kept = {key: value for key, value in raw.items() if key not in _SPARED}
    for key in raw.keys() & _SPARED:
        try:
            kept = dict(Conf.from_wire({**kept, key: raw[key]}).raw)
        except InvalidConfig as error:
            log.Log.from_conf(raw).error(f"{command} goes on without {key!r}", error=error)
    return Conf.from_wire(kept)


def validate(conf: Conf, installed: Installed) -> None:
    """Require that every key is right, and that every plugin is there that a key needs.

    Raises ``InvalidConfig`` with the first problem in the message and the others in the details,
    and ``MissingPlugin`` when no plugin reads a key that selects networks.  A name in
    ``blockedPlugins`` that matches nothing is logged: it blocks nothing, and may be a typing error.
    Problems that are warnings are logged too.
    """
    _require_plugins(conf, installed)
    refuse_lone_default(conf)
    found = problems(conf, installed)
    wrong = [each for each in found if not each.warning]
    if wrong:
        raise InvalidConfig.of(wrong, conf.reader.where)
    for each in found:
        log.Log.from_conf(conf.raw).error(f"{conf.reader.where}: {each}")
    for name in installed.unmatched(conf.blocked_plugins):
        reason = f"'blockedPlugins' names {name!r}, which no installed plugin is called"
        log.Log.from_conf(conf.raw).error(f"{conf.reader.where}: {reason}")


def problems(conf: Conf, installed: Installed) -> list[Problem]:
    """What is wrong with the keys, by the tables of keys and by the plugins."""
    table = (*keys.OWN, *installed.hooks.configuration_keys())
    found = [*keys.problems(conf.reader, table), *installed.hooks.validate(conf)]
    return list(dict.fromkeys(found))


def _require_plugins(conf: Conf, installed: Installed) -> None:
    refusal = installed.refusal(conf.raw)
    if refusal is not None:
        raise InvalidConfig(
            f"configuration {conf.name!r} needs a plugin that cannot be used: {refusal}",
            fix=refusal.fix,
        )
    for key, distributions in SELECTING.items():
        if conf.raw.get(key) and not any(key in entry.reads for entry in installed.loaded):
            raise MissingPlugin(
                f"no loaded plugin reads {key!r}",
                where=conf.reader.where,
                path=key,
                fix=f"install {either(distributions)}, or remove the key",
            )


def refuse_lone_default(conf: Conf) -> None:
    """Raise ``InvalidConfig`` when ``always_use_default`` lacks a key that it needs."""
    offers_default = conf.raw.get("delegates") or conf.raw.get("clusterNetwork")
    if conf.always_use_default and not (offers_default and conf.raw.get("kubeconfig")):
        lacking = "kubeconfig" if offers_default else "delegates"
        raise InvalidConfig(
            DEFAULT_NEEDS_BOTH,
            path=keys.ALWAYS_USE_DEFAULT.name,
            fix=f"add '{lacking}', or remove 'always_use_default'",
        )
