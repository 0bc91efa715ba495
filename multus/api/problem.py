"""A problem: something wrong with a configuration, as a value."""

from __future__ import annotations

from attrs import field, frozen

from multus.api.errors import sentence
from multus.api.where import Path, as_path


@frozen
class Problem:
    """Something wrong with a configuration: the key, why it is wrong, and what to do.

    ``path`` is the key's path from the top of the configuration, as ``"delegates[0].type"`` or as
    a tuple.  ``reason`` continues a sentence that begins with the key ("is 'x', which is
    relative"); ``fix`` is an instruction ("use an absolute path").
    """

    path: Path = field(converter=as_path)
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        return sentence("", self.path, self.reason, self.fix)
