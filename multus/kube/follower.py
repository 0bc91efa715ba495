"""Following one list of the API server in a thread, which no exception ends.

What is known may be out of date.  A reader that does not find what it looks for asks the API
server.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._failures import ApiFailure, Unreachable, Unreadable, VersionExpired
from multus.api.kubernetes._objects import Resource
from multus.kube.client import KubeClient, ListPage, WatchEvent, WatchStream
from multus.kube.decoding import metadata_of
from multus.kube.kept import Kept, Key

_OPENING = 30.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
#: A round that lasted for so many seconds was a good one: the next failure is a first one again.
_GOOD = 5.0
#: How long to wait for a kind that the API server does not serve, or that the account may not list:
#: neither changes often.
_ABSENT = 300.0
#: The API server sends something about every 60 seconds, a bookmark if there is nothing else.
#: After so many seconds without anything, the objects may be out of date.
_STALE = 100.0


@frozen
class Followed:
    """One list of the API server: its kind, its name for people, and a fieldSelector.

    Without a *required* one the node serves nothing, so it is asked for soon whatever failed.
    """

    resource: Resource
    what: str
    field_selector: str = ""
    metadata_only: bool = False
    required: bool = False

    @property
    def query(self) -> dict[str, str]:
        return {"fieldSelector": self.field_selector} if self.field_selector else {}


class Follower:
    """Objects of one list, kept up to date by a thread: list, watch, and list again after 410.

    *keep* turns an object's wire form into what is stored.  An object for which it raises an
    exception, and one that does not fit into *budget* bytes, is only marked: readers ask the API
    server for it.  Every other error goes to *on_problem*, and the list is read again after a
    pause; until then readers get None.
    *on_change* is called with the key of every object that is new, changed or deleted; it must not
    block.
    """

    def __init__(
        self,
        client: KubeClient,
        followed: Followed,
        keep: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        budget: int,
        on_problem: Callable[[CNIError], None] | None = None,
        on_change: Callable[[Key], None] | None = None,
    ) -> None:
        self._client, self._followed, self._keep = client, followed, keep
        self._on_change = on_change
        self._budget, self._on_problem = budget, on_problem
        self._objects = Kept(budget)
        self._heard = 0.0
        #: Whether the last list failed because of the kind or the account; that is told once.
        self._absent = False
        self._complete = threading.Event()
        self._stop = threading.Event()
        self._watch: WatchStream | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._follow, name=f"follow {followed.what}", daemon=True
        )
        self.what = followed.what
        self.lists = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end, also in the middle of a watch; returns at once."""
        self._stop.set()
        with self._lock:
            watch = self._watch
        if watch:
            watch.close()

    def close(self, seconds: float = 2.0) -> None:
        """Stop, and wait for the thread's end for *seconds* at most."""
        self.stop()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    @property
    def synced(self) -> bool:
        """Whether the objects are a complete list that a watch keeps up to date."""
        return self._complete.is_set() and not self.stale and self._thread.is_alive()

    @property
    def stale(self) -> bool:
        """Whether it has objects that may be out of date.

        That is so after a failure, until the next list is complete, and when the API server has
        sent nothing for too long.
        """
        return bool(self._heard) and (not self._complete.is_set() or self.age > _STALE)

    @property
    def age(self) -> float:
        """Seconds since the API server sent something; infinite before the first list."""
        return time.monotonic() - self._heard if self._heard else float("inf")

    @property
    def bytes(self) -> int:
        """How many bytes the objects take."""
        return self._objects.bytes

    @property
    def marked(self) -> int:
        """How many objects are known to exist, and are read from the API server."""
        return self._objects.marked

    def wait(self, seconds: float) -> bool:
        """Wait until the first list is complete; False when it is not after *seconds*."""
        return self._complete.wait(seconds)

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, key: Key) -> dict[str, Any] | None:
        """What is stored for ``(namespace, name)``; None: ask the API server."""
        return self._objects.get(key) if self.synced else None

    def has(self, key: Key) -> bool:
        """Whether the list, as far as the watch has come, has such an object."""
        return self.synced and self._objects.has(key)

    def lacks(self, key: Key) -> bool:
        """Whether the list, as far as the watch has come, has no such object."""
        return self.synced and self._objects.lacks(key)

    def all(self) -> list[dict[str, Any]] | None:
        """All objects; None when one may be missing: ask the API server."""
        return self._objects.all() if self.synced else None

    def _follow(self) -> None:
        pause = _FIRST_WAIT
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._watch_from(self._list())
            except VersionExpired:
                # The server no longer knows the version; the next list is complete again.
                pause = _longer(pause, began)
            except Exception as error:  # noqa: BLE001  no exception may end the thread
                # Without this thread the objects would stay as they are for ever.
                self._complete.clear()
                absent = isinstance(error, ApiFailure) and error.lasts
                rare = absent and not self._followed.required
                pause = _ABSENT if rare else _longer(pause, began)
                if not (absent and self._absent):
                    self._tell(error)
                self._absent = absent
            self._stop.wait(pause * random.uniform(0.5, 1.0))

    def _list(self) -> str:
        """Read the whole list; the old objects serve until it is complete."""
        followed, fresh, version = self._followed, Kept(self._budget), ""
        pages = self._client.pages(
            followed.resource,
            followed.what,
            _OPENING,
            query=followed.query,
            metadata_only=followed.metadata_only,
        )
        for page in pages:
            version = page.resource_version
            self._take(page, fresh)
            del page  # before the next is read
        before, self._objects = self._objects, fresh
        self._heard = time.monotonic()
        self.lists += 1
        self._absent = False
        self._complete.set()
        for key in fresh.differing(before):
            self._changed(key)
        return version

    def _take(self, page: ListPage, fresh: Kept) -> None:
        """Keep a page's objects; those of a page that is not whole are only marked."""
        for wire in page.items:
            key = _key(wire)
            if key is not None:
                fresh.put(key, self._kept(wire) if page.whole else None, self._objects)

    def _watch_from(self, version: str) -> None:
        """Follow changes until an error (410, for instance) or :meth:`stop`."""
        followed = self._followed
        while not self._stop.is_set():
            watch = self._client.watch(
                followed.resource,
                followed.what,
                version,
                Deadline.after(_OPENING),
                query=followed.query,
                metadata_only=followed.metadata_only,
            )
            with self._lock:
                self._watch = watch
            if self._stop.is_set():
                watch.close()
            began = time.monotonic()
            try:
                for change in watch:
                    self._heard = time.monotonic()
                    self._apply(change)
                    version = change.resource_version or version
            except Unreadable:
                # The next watch from this version would get the same answer.
                raise
            except Unreachable as error:
                # Nothing is missed: the next watch goes on from the same version.
                self._tell(error)
            if time.monotonic() - began < 1.0:
                # A server that ends watches at once must not be asked without a pause.
                self._stop.wait(_FIRST_WAIT)

    def _apply(self, change: WatchEvent) -> None:
        key = _key(change.object)
        if key is None or change.kind == "BOOKMARK":
            return
        if change.kind == "DELETED":
            self._objects.drop(key)
        else:
            self._objects.put(key, self._kept(change.object))
        self._changed(key)

    def _changed(self, key: Key) -> None:
        if self._on_change is not None:
            self._on_change(key)

    def _kept(self, wire: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What to store; None marks an object of an unexpected form."""
        try:
            return self._keep(wire)
        except Exception:  # noqa: BLE001  one object of an odd form must not affect the others
            return None

    def _tell(self, error: Exception) -> None:
        if self._on_problem is None or self._stop.is_set():
            return
        if not isinstance(error, CNIError):
            error = CNIError(
                f"internal error: {type(error).__name__} while {self.what} were followed: {error};"
                " the list is read again"
            )
        # An error of the log must not stop the following.
        with suppress(Exception):
            self._on_problem(error)


def _longer(pause: float, began: float) -> float:
    """The pause after a round that *began* then."""
    if time.monotonic() - began > _GOOD:
        return _FIRST_WAIT
    return min(pause * 2, _LONGEST_WAIT)


def _key(wire: object) -> Key | None:
    """Namespace and name; None for what cannot be looked up by them."""
    metadata = metadata_of(wire)
    namespace, name = metadata.get("namespace", ""), metadata.get("name")
    return (namespace, name) if isinstance(namespace, str) and isinstance(name, str) else None
