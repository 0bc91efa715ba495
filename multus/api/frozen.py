"""Read-only objects and lists, for decoded configurations.

They are subclasses of ``dict`` and ``list``, so all readers accept them, ``json`` included.
Methods that change one raise ``TypeError``.  Copies are mutable: ``dict(value)`` and
``list(value)`` copy one level, ``copy.deepcopy(value)`` copies all levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

__all__ = ["FrozenDict", "FrozenList", "freeze"]

_K = TypeVar("_K")
_V = TypeVar("_V")


def _refuse(self: object, *_args: object, **_named: object) -> NoReturn:
    raise TypeError(
        "configurations and requests are read-only because all plugins share them: change a copy"
        " (dict(value), list(value), copy.deepcopy(value)) and return it from the hook"
    )


class FrozenDict(dict[_K, _V]):
    """A ``dict`` that cannot be changed."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def __copy__(self) -> dict[_K, _V]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[_K, _V]:
        return {key: _thawed(value) for key, value in self.items()}


class FrozenList(list[_V]):
    """A ``list`` that cannot be changed."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)

    def __copy__(self) -> list[_V]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[_V]:
        return [_thawed(value) for value in self]


#: Deeper nesting is refused: recursive functions would raise RecursionError.
DEEPEST = 100

#: The default of optional mapping fields.
EMPTY: FrozenDict[str, Any] = FrozenDict()

_MUTABLE = (dict, list)


def freeze(value: Any, levels: int = DEEPEST) -> Any:
    """Make every ``dict`` and ``list`` in *value* read-only; frozen ones are not copied.

    Other values are returned as they are.  Raises ``RecursionError`` for nesting deeper than
    *levels*.
    """
    kind = type(value)
    if kind not in _MUTABLE:
        return value
    if not levels:
        raise RecursionError(f"nested deeper than {DEEPEST} levels")
    levels -= 1
    if kind is dict:
        return FrozenDict(
            {k: freeze(v, levels) if type(v) in _MUTABLE else v for k, v in value.items()}
        )
    return FrozenList([freeze(v, levels) if type(v) in _MUTABLE else v for v in value])


def frozen_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A read-only deep copy of any mapping."""
    return value if type(value) is FrozenDict else freeze(dict(value))


def frozen_or_none(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Like ``frozen_mapping``; None stays None."""
    return None if value is None else frozen_mapping(value)


def frozen_each(values: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Like ``frozen_mapping``, for several mappings."""
    return tuple(map(frozen_mapping, values))


def _thawed(value: Any) -> Any:
    if isinstance(value, FrozenDict | FrozenList):
        return value.__deepcopy__({})
    return value
