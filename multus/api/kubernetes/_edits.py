"""Edits: changes of one object that depend on what the object is at that moment.

Many processes of many nodes may edit one object.  An edit names a function of a plugin; the process
that writes calls it with the object that it is about to replace, and the API server refuses the
write when the object has changed since.  Then the function is called again, with the newer object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from attrs import field, frozen

from multus.api.errors import InvalidConfig
from multus.api.frozen import frozen_mapping

if TYPE_CHECKING:
    from multus.api.kubernetes._objects import ObjectRef


class Change(NamedTuple):
    """What a function of an edit says: its ``answer``, and what to write.

    ``patch`` is a merge patch (RFC 7386) of the object, or the whole object when there is none yet;
    None leaves it as it is.  With ``remove`` the object is deleted.  ``answer`` is JSON.

    ``then`` is an edit of another object that belongs to this one; `Api.edit` returns both answers.
    It is made when the patch has been written.  With ``at_once``, for an object that no other node
    writes, what it creates is created meanwhile, and deleted when the patch comes to nothing.
    """

    answer: Any = None
    patch: Mapping[str, Any] | None = None
    remove: bool = False
    then: Edit | None = None
    at_once: bool = False


#: Takes the object in its wire form, None when it does not exist, and what the edit gives.
EditFunction = Callable[[Mapping[str, Any] | None, Mapping[str, Any]], Change]

_F = TypeVar("_F", bound=EditFunction)


@frozen
class Edit:
    """A change of ``object`` by the function ``module:name`` of a plugin, with ``given``, JSON.

    The function is marked with `editing`.  It may be called several times for one edit, in another
    process, and together with the edits of other requests; so it changes nothing itself, and it has
    to find in the object what an earlier call of the same edit has made of it.  ``subresource`` is
    "status" for a change of that part, which the API server writes by itself.
    """

    object: ObjectRef
    function: str
    given: Mapping[str, Any] = field(converter=frozen_mapping)
    subresource: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As JSON, for another process and for a file."""
        kind = self.object.resource
        return {
            "kind": [kind.group, kind.version, kind.plural, kind.noun, kind.title],
            "object": [self.object.namespace, self.object.name],
            "function": self.function,
            "given": self.given,
            "subresource": self.subresource,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Edit:
        """The inverse of `to_wire`; raises ``LookupError``, ``TypeError`` or ``ValueError``."""
        from multus.api.kubernetes._objects import Resource

        texts = (*wire["kind"], *wire["object"], wire["function"], wire["subresource"])
        if not all(isinstance(each, str) for each in texts):
            raise TypeError("an edit's kind, object and function are texts")
        found = Resource(*wire["kind"]).object(*wire["object"])
        str(found)  # a format of its name that has other fields is malformed, too
        return cls(found, wire["function"], wire["given"], wire["subresource"])


def editing(function: _F) -> _F:
    """Mark a function that an `Edit` may name: no other is ever called by its name."""
    function.multus_edit = True  # type: ignore[attr-defined]
    return function


def function_of(edit: Edit) -> EditFunction:
    """The function that an edit names; raises ``InvalidConfig`` when there is no such function."""
    module, _, name = edit.function.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidConfig(
            f"{edit.object}: its edit {edit.function!r} is not installed: {error}",
            fix="install the plugin that the module belongs to",
        ) from error
    if getattr(found, "multus_edit", False) is not True:
        raise InvalidConfig(
            f"{edit.object}: {edit.function!r} is not a function for edits",
            fix="mark it with multus.api.kubernetes.editing",
        )
    function: EditFunction = found
    return function
