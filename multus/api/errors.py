"""The errors of CNI: one class per code.

A plugin raises these; the front prints them as the specification's error object.  ``msg`` is one
sentence that names what failed, the object or key, and what to do; ``details`` may be long.

Source: CNI specification 1.1.0, section "Error" (codes 1 to 99 are the specification's, 100 and
up are Multus' own).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from multus.api.progress import Overdue


class CNIError(Exception):
    """Base of every error that may cross a module's border.

    ``code`` is the class's unless one is given (a delegate's error keeps its own).
    """

    code: ClassVar[int] = 999

    def __init__(self, msg: str, details: str = "", *, code: int | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details
        self.number = type(self).code if code is None else code

    def reworded(self, msg: str, details: str) -> CNIError:
        """The same error, of the same class, code and cause, in other words."""
        error = type(self).__new__(type(self), msg)
        error.msg, error.details, error.number = msg, details, self.number
        error.__cause__ = self.__cause__
        return error

    def to_wire(self, cni_version: str) -> dict[str, Any]:
        """The error object for stdout: ``{cniVersion, code, msg, details}``."""
        return {
            "cniVersion": cni_version,
            "code": self.number,
            "msg": self.msg,
            "details": self.details,
        }

    def __str__(self) -> str:
        return f"{self.msg}: {self.details}" if self.details else self.msg


class IncompatibleVersion(CNIError):
    """The configuration's ``cniVersion`` is not one that both sides know."""

    code = 1


class UnsupportedField(CNIError):
    """A configuration holds a field that nothing here can honour."""

    code = 2


class UnknownContainer(CNIError):
    """The container, or the pod behind it, is not known (any more)."""

    code = 3


class BadEnvironment(CNIError):
    """A ``CNI_*`` variable is missing or malformed."""

    code = 4


class IOFailure(CNIError):
    """Reading or writing a file, a socket or a process failed."""

    code = 5


class DecodingFailure(CNIError):
    """Something is not the JSON that it has to be."""

    code = 6


class InvalidConfig(CNIError):
    """A configuration, annotation or API object is wrong; the message names object, key, fix."""

    code = 7


class TryAgainLater(CNIError):
    """Not now: an API, a daemon or a readiness file is away; the runtime should repeat the call."""

    code = 11


class NotAvailable(CNIError):
    """STATUS: an ADD could not be served."""

    code = 50


class LimitedConnectivity(CNIError):
    """STATUS: an ADD could not be served, and existing containers may be cut off."""

    code = 51


class MissingPlugin(CNIError):
    """No installed plugin does this; the message names what to install."""

    code = 100


class DelegateFailed(CNIError):
    """A delegate failed in a way that is no CNI error of its own: killed, hung, or not JSON."""

    code = 101


class CheckFailed(CNIError):
    """CHECK: something is not as the record says; the message says what and where."""

    code = 102


class AddressesExhausted(CNIError):
    """No address is left; the message names the network, the range and how many are in use."""

    code = 103


class KernelRefused(CNIError):
    """The kernel refused a request; the message names the request and the errno."""

    code = 104


class StateDamaged(CNIError):
    """A record under ``cniDir`` is torn, forged or unsafe to read."""

    code = 105


class NotStarted(CNIError):
    """A program is missing or cannot be run."""

    code = 106


def error_of(code: int, msg: str, details: str = "") -> CNIError:
    """The error of another plugin, in the class of its code where the specification has one."""
    known = (each for each in CNIError.__subclasses__() if each.code == code and code < 100)
    return next(known, CNIError)(msg, details, code=code)


# --- What plugins raise --------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed, or SIGINT was sent: the program's own signal handler raises it.

    A plain ``KeyboardInterrupt`` is one that a plugin raised, and the plugin's error.
    """


#: What is never turned into an error of the plugin that it passes through: it is for the process.
PASSING = (Interrupted,)


def failure(who: str, error: BaseException, fix: str = "report it to its author") -> CNIError:
    """*error* as an error of CNI: itself when it is one, else one that names *who* raised it.

    What was interrupted since it took too long may do better next time.
    """
    if isinstance(error, CNIError):
        return error
    if isinstance(error, Overdue):
        late = TryAgainLater(f"{error}: {fix}")
        late.__cause__ = error
        return late
    made = CNIError(f"{who} failed with {described(error)}: {fix}")
    made.__cause__ = error  # its traceback, for the log
    return made


def described(error: BaseException) -> str:
    """The class and the text of an exception, even of one that cannot be shown as text."""
    try:
        text = str(error)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    except Exception:  # noqa: BLE001  a foreign exception's __str__ may raise anything
        return type(error).__name__


def shown(value: object) -> str:
    """The beginning of a value's ``repr``, even of one that has none."""
    try:
        return f"{value!r:.200}"
    except Exception:  # noqa: BLE001  a foreign value's __repr__ may raise anything
        return f"a {type(value).__name__}"


def attempted(who: str, step: Callable[..., object], *arguments: object) -> CNIError | None:
    """Call one of several steps, none of which may prevent the others.

    Returns what went wrong: the step's own error, or one that names *who* for any other exception,
    ``SystemExit`` included.
    """
    try:
        step(*arguments)
    except PASSING:
        raise
    except BaseException as error:  # noqa: BLE001  a foreign step may raise anything
        return failure(who, error)
    return None
