"""A look at a running container; in a worker.

``multus.daemon.looks`` says which containers are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.errors import CNIError, UnknownContainer, failure
from multus.api.kubernetes import NotFound
from multus.engine.changing import request_of
from multus.state.journal import Journal
from multus.state.liveness import lives

if TYPE_CHECKING:
    from multus.cni.skel import EngineFor
    from multus.engine.pipeline import Engine

#: An error's text is told once; this much of it is compared.
_LONGEST = 4096


def look(
    asked: Mapping[str, Any], engine_for: EngineFor, deadline: float, *, follows: bool
) -> dict[str, Any]:
    """Carry out the look that ``Look.to_wire`` describes; how it ended (``Looked``), as JSON.

    With *follows*, the container's networks follow its pod's annotation; without, its status is put
    right.  Never raises.
    """
    wrote = False
    try:
        outcome, told, wrote = _look(asked, engine_for, deadline, follows)
    except (UnknownContainer, NotFound):
        return {"outcome": "gone", "told": []}
    except BaseException as error:  # noqa: BLE001  the API process has to know that it failed
        told = [failure("looking at a pod", error, "please report it, with the log")]
        outcome = "failed"
    return {"outcome": outcome, "told": [str(each)[:_LONGEST] for each in told], "wrote": wrote}


def _look(
    asked: Mapping[str, Any], engine_for: EngineFor, deadline: float, follows: bool
) -> tuple[str, list[CNIError], bool]:
    journal = Journal(asked["cniDir"])
    record = journal.find(asked["container"], asked["ifname"])
    if record is None or record.result is None:
        raise UnknownContainer("it has no finished record")
    if not lives(record):
        # The engine would tell the pod's observers, but its DEL is about to come.
        raise UnknownContainer("it has ended")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    request, conf = request_of(record, environ)
    conf = evolve(conf, cni_dir=journal.folder)
    engine = engine_for(conf, deadline)
    before, told = _annotated(engine), frozenset(asked["told"])
    if not follows:
        engine.review(request, conf, told)
        wrote = _annotated(engine) > before
        return ("righted" if wrote else "same"), [], wrote
    changes = engine.change(request, conf, told)
    made = bool(changes.added or changes.removed)
    wrote = _annotated(engine) > before and not made
    if changes.refused:
        return "refused", [each.error for each in changes.refused], wrote
    if made:
        return "changed", [], False
    return ("righted" if wrote else "same"), [], wrote


def _annotated(engine: Engine) -> int:
    """How many annotations the engine's API was to write so far."""
    return int(getattr(engine.api, "annotated", 0))
