"""A hostile pod on a node: its objects, its calls, and checks of their results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from reliability.neighbours import NETWORKS, NODE_NAME, Place, define_network
from reliability.rows import EITHER, FAILS, POD, SUCCEEDS, Row

from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container

#: Number of DELs after which only what cannot be deleted is left.
TRIES = 3


@define
class Scene:
    """One hostile pod on a node."""

    place: Place
    row: Row
    folder: Path
    netns: Netns = field(factory=lambda: Netns.create("pod"))
    container: Container = field(init=False)

    def __attrs_post_init__(self) -> None:
        container = self.place.container(self.netns, POD)
        self.container = evolve(container, id="hostile") if "cniDir" in self.row.keys else container

    def conf(self) -> dict[str, Any]:
        delegates = [self.filled(each) for each in self.row.delegates]
        return self.place.conf(*delegates, **self.filled(self.row.keys))

    def filled(self, value: Any) -> Any:
        return json.loads(json.dumps(value).replace("@FOLDER@", str(self.folder)))

    def enter(self) -> None:
        """Store the pod and its objects."""
        api, row = self.place.api, self.row
        annotations = {NETWORKS: row.annotation or ",".join(row.objects)}
        api.create_pod(POD, annotations if annotations[NETWORKS] else None, node=NODE_NAME)
        for name, config in row.objects.items():
            text = config if isinstance(config, str) else json.dumps(config)
            define_network(api, name, text.replace("@FOLDER@", str(self.folder)))
        api.odd.extend(row.odd)

    def leave(self) -> None:
        """Remove them, and processes that the hostile plugin left."""
        api = self.place.api
        api.odd.clear()
        api.delete({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}})
        for name in self.row.objects:
            kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
            api.delete({**kind, "metadata": {"name": name}})
        self.netns.remove()

    def call(self, command: str) -> Answer:
        return self.place.call(command, self.conf(), self.container, self.row.limit)

    def begun(self, attempt: Future[Answer]) -> None:
        """Wait until the hostile action starts or the call ends, for at most half a second."""
        end = time.monotonic() + 0.5
        while not (self.folder / "begun").exists() and not attempt.done():
            if time.monotonic() > end:
                return
            time.sleep(0.01)

    # --- Checks ----------------------------------------------------------------------------------

    def require_named(self, command: str, answer: Answer) -> None:
        """Check that an error names its plugin or object."""
        if answer.status:
            error = answer.error
            said = f"{error['msg']} {error.get('details', '')}"
            names = list(self.row.names)
            if self.row.answer == EITHER:
                # The hostile action raises no error: a later step of the pod fails.
                names += [POD, self.container.id]
            assert any(name in said for name in names), f"{command}: {said}"

    def require_answer(self, answer: Answer) -> None:
        ended = FAILS if answer.status else SUCCEEDS
        said = answer.stdout.decode(errors="replace")
        assert self.row.answer in (ended, EITHER), f"ADD {ended}: {said}"
        self.require_named("ADD", answer)

    def delete(self, answer: Answer, hazard: ExitStack) -> None:
        """Repeat DEL as a kubelet does: it succeeds, at the latest without the hazard.

        *answer* is the first one's.
        """
        self.require_named("DEL", answer)
        for _ in range(TRIES - 1):
            if answer.status:
                answer = self.call("DEL")
        if answer.status:
            assert not self.row.deletable, f"DEL: {answer.stdout.decode(errors='replace')}"
            assert self.place.held_by(self.container) == []
        hazard.close()
        (self.folder / "calm").touch()
        if answer.status:
            self.call("DEL").require()


def in_background(work: Callable[[], Answer]) -> Future[Answer]:
    """Run it in its own thread; returns a future."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future
