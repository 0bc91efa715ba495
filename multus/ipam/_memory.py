"""A daemon's cache of host-local's stores between two calls, bounded in bytes."""

from __future__ import annotations


class Memory:
    """A cache: by directory, the owner of each address."""

    #: The most that is cached, in bytes: some 60,000 addresses.
    MOST = 16 * 1024 * 1024
    #: The bytes of a string and its dictionary entry, beside its characters.
    _EACH = 120

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, str]]] = {}

    @property
    def size(self) -> int:
        """How many bytes are cached."""
        # Several threads may add entries at the same time: a counter could drift, a sum cannot.
        return sum(size for size, _ in list(self._known.values()))

    def recall(self, directory: str) -> dict[str, str]:
        """The cached owners of *directory*; empty when there are none."""
        return self._known.get(directory, (0, {}))[1]

    def keep(self, directory: str, holders: dict[str, str]) -> None:
        """Cache *holders*; drop the other directories when it does not fit beside them."""
        self.forget(directory)
        texts = sum(map(len, holders)) + sum(map(len, holders.values()))
        size = texts + 2 * self._EACH * (len(holders) + 1) + len(directory)
        if self.size + size > self.MOST:
            self.clear()
        if size <= self.MOST:
            self._known[directory] = size, holders

    def forget(self, directory: str) -> None:
        """Drop what is cached of *directory*."""
        self._known.pop(directory, None)

    def clear(self) -> None:
        """Remember nothing."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)
