"""One network of a running pod, as ``POST /delegate`` asks for it; in a worker.

The request has the network's configuration, the pod's container and the network's interface.  Which
configuration of Multus the pod was attached with stands in its record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.conf import Conf
from multus.api.delegates import with_cni_args
from multus.api.errors import BadEnvironment, UnknownContainer, either
from multus.api.jsontext import decode_object
from multus.api.network import OUTSIDE, Element
from multus.api.reader import Reader
from multus.api.spelling import Spelling, spelled
from multus.cni import skel
from multus.cni.shim import Answer
from multus.engine.parse import parse
from multus.state.journal import Journal

if TYPE_CHECKING:
    from multus.api.request import Request

_COMMANDS = ("ADD", "DEL", "CHECK", "STATUS")
_SPELLING = Spelling(("ips", "mac", "cni-args"))
_ORIGIN = "the configuration in the request to /delegate"


@frozen
class Asked:
    """A request: environment, the network's configuration, and the ``interfaceAttributes``.

    ``cni_dir`` is where the pod's record is.
    """

    environ: Mapping[str, str] = field(repr=False)
    stdin: bytes = field(repr=False)
    attributes: Mapping[str, Any]
    cni_dir: str


def answer(asked: Asked, engine_for: skel.EngineFor, deadline: float) -> Answer:
    """Carry out the request; never raises, as ``multus.cni.skel.answer``."""
    try:
        return 0, _carry_out(asked, engine_for, deadline)
    except BaseException as error:  # noqa: BLE001  the client must get an error object
        return skel.failed(error, asked.stdin)


def recover(asked: Asked, engine_for: skel.EngineFor, deadline: float) -> Answer:
    """Undo a change whose worker was lost."""
    try:
        request = skel.request_of("DEL", _ignoring(asked.environ))
        request, conf = _of_pod(request, asked.cni_dir)
        engine_for(conf, deadline).recover(request, conf)
    except UnknownContainer:
        return 0, b""
    except BaseException as error:  # noqa: BLE001  the supervisor must get an error object
        return skel.failed(error, asked.stdin)
    return 0, b""


def _carry_out(asked: Asked, engine_for: skel.EngineFor, deadline: float) -> bytes:
    command = asked.environ.get("CNI_COMMAND", "")
    if command not in _COMMANDS:
        raise BadEnvironment("unknown CNI_COMMAND", fix=f"use {either(_COMMANDS)}")
    request = skel.request_of(command, _ignoring(asked.environ))
    reader = Reader(spelled(asked.attributes, _SPELLING), "interfaceAttributes")
    element = _element(asked, request, reader)
    request, conf = _of_pod(request, asked.cni_dir)
    engine = engine_for(conf, deadline)
    if command == "ADD":
        attachment = engine.attach_one(request, conf, element, _requests(reader))
        version = attachment.delegate.cni_version
        return json.dumps(attachment.result.to_wire(version)).encode()
    verbs = {"DEL": engine.detach_one, "CHECK": engine.check_one, "STATUS": engine.status_one}
    verbs[command](request, conf, element)
    return b""


def _ignoring(environ: Mapping[str, str]) -> Mapping[str, str]:
    """*environ* with ``CNI_ARGS`` that no plugin refuses: most do not know a pod's."""
    args = environ.get("CNI_ARGS", "")
    known = "IgnoreUnknown" in args
    return environ if known else {**environ, "CNI_ARGS": f"IgnoreUnknown=1;{args}"}


def _requests(reader: Reader) -> Mapping[str, Any]:
    """What is requested, by capability."""
    asked = {"mac": reader.text("mac"), "ips": reader.texts("ips")}
    return {key: value for key, value in asked.items() if value}


def _element(asked: Asked, request: Request, reader: Reader) -> Element:
    given = decode_object(asked.stdin, _ORIGIN)
    config = with_cni_args(given, reader.mapping("cni-args"), _ORIGIN)
    return Element(
        name=str(config.get("name") or request.ifname),
        origin=_ORIGIN,
        source=OUTSIDE,
        interface=request.ifname,
        config=config,
        options=reader.raw,
    )


def _of_pod(request: Request, cni_dir: str) -> tuple[Request, Conf]:
    """The request with the interface of the pod's own ADD, and the configuration of that."""
    journal = Journal(cni_dir)
    for ifname in journal.of(request.container_id):
        record = journal.find(request.container_id, ifname)
        if record is not None and record.conf:
            return evolve(request, ifname=ifname), parse(record.conf, "DEL")
    # The Go Multus may have attached the pod; what it kept does not say with what configuration.
    own = {"cniVersion": "1.0.0", "name": "multus", "type": "multus", "cniDir": cni_dir}
    return evolve(request, ifname="eth0"), Conf.from_wire(own)
