"""What a daemon remembers of host-local's stores between two calls, bounded in bytes."""

from __future__ import annotations


class Memory:
    """Holders of addresses by address, of several directories."""

    #: The most that is remembered, in bytes: some 60,000 addresses.
    MOST = 16 * 1024 * 1024
    #: What a text and its place in a dictionary cost beside its characters.
    _EACH = 120

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, str]]] = {}

    @property
    def size(self) -> int:
        """How many bytes are remembered."""
        # Several threads may keep something at the same time: a sum cannot drift.
        return sum(size for size, _ in list(self._known.values()))

    def recall(self, directory: str) -> dict[str, str]:
        """What is remembered of *directory*; empty when nothing is."""
        return self._known.get(directory, (0, {}))[1]

    def keep(self, directory: str, holders: dict[str, str]) -> None:
        """Remember *holders*; when it does not fit beside the others, they are forgotten."""
        self.forget(directory)
        texts = sum(map(len, holders)) + sum(map(len, holders.values()))
        size = texts + 2 * self._EACH * (len(holders) + 1) + len(directory)
        if self.size + size > self.MOST:
            self.clear()
        if size <= self.MOST:
            self._known[directory] = size, holders

    def forget(self, directory: str) -> None:
        """Remember nothing of *directory*."""
        self._known.pop(directory, None)

    def clear(self) -> None:
        """Remember nothing."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)
