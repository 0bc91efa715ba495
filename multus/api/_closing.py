"""Close the resources that plugins opened during a request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from multus.api.errors import attempted

if TYPE_CHECKING:
    from multus.log import Log

_T = TypeVar("_T")


class Closing(ExitStack):
    """An ``ExitStack`` whose callbacks cannot change the request's answer.

    An exception of a callback is logged to *log* with the callback's name, and the others run.  A
    context manager gets the exception that ends the request, and cannot suppress it.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def callback(self, callback: Callable[..., Any], /, *args: Any, **kwds: Any) -> Any:
        super().callback(self._close, callback, lambda: callback(*args, **kwds))
        return callback

    def push(self, exit: Any) -> Any:
        leave = type(exit).__exit__.__get__(exit) if hasattr(type(exit), "__exit__") else exit
        super().push(lambda *raised: self._close(exit, leave, *raised))
        return exit

    def enter_context(self, cm: AbstractContextManager[_T, Any]) -> _T:
        entered = type(cm).__enter__(cm)
        self.push(cm)
        return entered

    def _close(self, owner: object, close: Callable[..., object], *raised: object) -> None:
        name = _name(owner)
        error = attempted(name, close, *raised)
        if error is not None:
            self._log.error(f"{name} failed while the request was closed", error=error)


def _name(owner: object) -> str:
    """The module and name of a function, or of an object's class."""
    owner = getattr(owner, "func", owner)  # of a functools.partial
    named = owner if hasattr(owner, "__qualname__") else type(owner)
    return f"{getattr(named, '__module__', None) or 'a plugin'}.{named.__qualname__}"
