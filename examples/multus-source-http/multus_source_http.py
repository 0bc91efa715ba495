"""A source that asks an HTTP endpoint which further networks a pod gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import DecodingFailure, TryAgainLater
from multus.api.jsontext import LARGEST, decode
from multus.api.network import Element, Role, Selection
from multus.api.request import Pod, Request
from multus.api.session import Session

NAME, KEY, PATIENCE = "source-http", "networksUrl", 5.0


@hookimpl
def multus_select(request: Request, conf: Conf, session: Session) -> Selection | None:
    """What the endpoint, or while it is away its last answer, says of this pod."""
    url = conf.reader.text(KEY)
    if not url or request.pod is None or request.command not in ("ADD", ""):
        return None
    asked = f"{url}/{request.pod.namespace}/{request.pod.name}"
    networks = _networks(asked, request.pod, conf, session)
    elements = tuple(Element(str(each.get("name")), asked, NAME, config=each) for each in networks)
    return Selection(Role.ADDED, elements, asked) if elements else None


def _networks(asked: str, pod: Pod, conf: Conf, session: Session) -> list[dict[str, Any]]:
    kept = Path(f"{conf.cni_dir}.http", f"{pod.namespace}:{pod.name}")
    try:
        answer = _get(asked, session.remaining(PATIENCE))
    except OSError as error:
        if not kept.exists():
            raise TryAgainLater(f"{asked} is away and has never answered: {error}") from error
        answer = kept.read_bytes()
    networks = decode(answer, f"the answer of {asked}")
    if not isinstance(networks, list) or not all(isinstance(each, dict) for each in networks):
        raise DecodingFailure(f"the answer of {asked} is no list of objects: correct the endpoint")
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    fresh.write_bytes(answer)
    fresh.replace(kept)
    return networks


def _get(url: str, seconds: float) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=max(seconds, 0.1)) as response:
            return bytes(response.read(LARGEST))
    except HTTPError as error:
        if error.code == 404:
            return b"[]"
        raise
