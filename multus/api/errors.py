"""The errors of CNI: one class per code.

An error has fields: the object (``where``), the key in it (``path``), the cause (``reason``) and
what to do (``fix``).  ``msg`` is all of them in one sentence, for people; no code parses it.
``details`` may be long.  ``multus.cni`` prints an error as the specification's error object.

Source: CNI specification 1.1.0, section "Error" (codes 1 to 99 are the specification's, 100 and
up are Multus' own).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from multus.api.progress import Overdue
from multus.api.where import Path, as_path, path_of, sentence

if TYPE_CHECKING:
    from multus.api.problem import Problem


#: CNI reserves smaller codes.
_FIRST_OWN = 100


class CNIError(Exception):
    """Base class of all errors of Multus.

    ``where`` names the object: a file, an annotation of a pod, a definition.  ``path`` is the path
    of the key in that object, empty when the whole object is meant.  ``reason`` says what is wrong,
    and ``fix`` what to do.

    ``number`` is the code: the class's, unless one is given (a delegate's error keeps its own).
    ``foreign``: another program said it, in its own words.
    """

    code: ClassVar[int] = 999

    foreign = False

    def __init__(
        self,
        reason: str,
        details: str = "",
        *,
        where: str = "",
        key: str | Path = (),
        path: str | Path = (),
        fix: str = "",
        code: int | None = None,
    ) -> None:
        """Both *key* and *path* are relative to *where*.

        With *key*, the message names the key before the reason, which continues the sentence:
        "is 5".  With *path*, it does not: the reason names the key itself.
        """
        super().__init__(reason)
        shown, silent = as_path(key), as_path(path)
        self.where = str(where)
        self.key = shown
        self.path = (*path_of(where), *(shown or silent))
        self.reason = reason
        self.fix = fix
        self.details = details
        self.number = type(self).code if code is None else code

    @property
    def msg(self) -> str:
        """The error in one sentence, without details."""
        return sentence(self.where, self.key, self.reason, self.fix)

    @property
    def said(self) -> str:
        """The sentence without the fix."""
        return sentence(self.where, self.key, self.reason)

    @property
    def problem(self) -> Problem:
        """Key, reason and fix, without the object."""
        from multus.api.problem import Problem

        return Problem(self.path, self.reason, self.fix)

    def at(self, where: str) -> CNIError:
        """The same error in a larger object: *where* is put before the object's name."""
        error = self._copy()
        error.where = f"{where}: {self.where}" if self.where else str(where)
        return error

    def detailed(self, *details: str) -> CNIError:
        """The same error with *details* appended to its own; empty ones are omitted."""
        error = self._copy()
        error.add_details(*details)
        return error

    def add_details(self, *details: str) -> None:
        """Append *details* to the error in place; empty ones are omitted."""
        self.details = "; ".join(part for part in (self.details, *details) if part)

    def into(self, kind: type[CNIError], *, code: int | None = None) -> CNIError:
        """The same text as an error of another class, with its code unless one is given."""
        error = kind.__new__(kind, self.reason)
        error.where, error.key, error.path = self.where, self.key, self.path
        error.reason, error.fix, error.details = self.reason, self.fix, self.details
        error.number = kind.code if code is None else code
        error.foreign = self.foreign
        return error

    def _copy(self) -> CNIError:
        """The same error, of the same class, code and cause."""
        error = type(self).__new__(type(self), *self.args)
        error.__dict__.update(self.__dict__)
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


def either(words: Sequence[str]) -> str:
    """Alternatives as text: "a, b or c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


class IncompatibleVersion(CNIError):
    """Multus does not support the configuration's ``cniVersion``, or the plugin does not."""

    code = 1


class UnsupportedField(CNIError):
    """A configuration has a field that is not supported."""

    code = 2


class UnknownContainer(CNIError):
    """The container or its pod does not exist (any more)."""

    code = 3


class BadEnvironment(CNIError):
    """A ``CNI_*`` variable is missing or malformed."""

    code = 4


class IOFailure(CNIError):
    """Reading or writing a file, a socket or a process failed."""

    code = 5


class DecodingFailure(CNIError):
    """Input is not valid JSON, or not the expected JSON.

    ``wrong`` continues a sentence that begins with the text's name ("is not JSON: …").
    ``position`` is the line and the column of the syntax error, both from 1, and ``syntax`` says
    what is wrong there; they are None and empty for other errors.
    """

    code = 6

    wrong = ""
    position: tuple[int, int] | None = None
    syntax = ""


class InvalidConfig(CNIError):
    """A configuration, annotation or API object is wrong.

    ``problems`` lists everything that was found to be wrong; the first is the error's own.
    """

    code = 7

    _others: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[Problem], where: str) -> InvalidConfig:
        """An error with *problems* (at least one); the message is the first, details the others."""
        first, *others = problems
        details = "; ".join(map(str, others))
        error = cls(first.reason, details, where=where, key=first.path, fix=first.fix)
        error._others = tuple(others)
        return error

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (self.problem, *self._others)


class InvalidNamespace(CNIError):
    """``CNI_NETNS`` is a network namespace that no container may have: the node's own."""

    code = 8


class MissingFile(InvalidConfig):
    """A file of the node that a configuration relies on does not exist."""


class NoSuchNetwork(InvalidConfig):
    """No installed source knows a network by the name that was selected."""


class TryAgainLater(CNIError):
    """An API, a daemon or a readiness file is not available yet; the runtime should try again."""

    code = 11


class NotAvailable(CNIError):
    """STATUS: an ADD would fail."""

    code = 50


class LimitedConnectivity(CNIError):
    """STATUS: an ADD would fail, and existing containers may have lost connectivity."""

    code = 51


class MissingPlugin(CNIError):
    """A needed plugin is not installed; the message names what to install."""

    code = 100


class DelegateFailed(CNIError):
    """A delegate failed without a CNI code that says why.

    It was killed, hung or printed invalid JSON; or its error has a code that CNI does not define,
    and that means something else in Multus.
    """

    code = 101


#: The usual fix of a ``CheckFailed``: what differs cannot be put right in place.
RECREATE = "delete the container and create it again"


class CheckFailed(CNIError):
    """CHECK: something differs from the record; the message says what and where."""

    code = 102


class AddressesExhausted(CNIError):
    """No address is left; the message names the network, the range and how many are in use."""

    code = 103


class KernelRefused(CNIError):
    """The kernel refused a request; the message names the request and the errno."""

    code = 104


class StateDamaged(CNIError):
    """A record under ``cniDir`` is truncated, forged or unsafe to read."""

    code = 105


class NotStarted(CNIError):
    """A program is missing or cannot be started."""

    code = 106


class NotInstalled(NotStarted):
    """No folder has a program of the plugin's name that can be executed."""


def error_of(code: int, msg: str, details: str = "") -> CNIError:
    """Another program's error: of the class that has its code, else of the base class.

    Codes from 100 on are each plugin's own, and 999 is what plugins in Go give to any error without
    a code.  So one that Multus uses itself becomes that of ``DelegateFailed``, and the details name
    it.

    Source: CNI specification 1.1.0, section "Error"; libcni 1.3, ``types.ErrInternal``.
    """
    kind = next((each for each in _kinds() if each.code == code), CNIError)
    if kind.code == code and code >= _FIRST_OWN:
        own = f"the plugin's own code: {code}"
        error: CNIError = DelegateFailed(msg, "; ".join(part for part in (details, own) if part))
    else:
        error = kind(msg, details, code=code)
    error.foreign = True
    return error


def _kinds() -> tuple[type[CNIError], ...]:
    return (CNIError, *CNIError.__subclasses__())


# --- What plugins raise --------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed, or SIGINT was sent: the program's own signal handler raises it.

    A plain ``KeyboardInterrupt`` was raised by a plugin and counts as the plugin's error.
    """


#: Exceptions for the process itself: never turned into an error of the plugin that they leave.
PASSING = (Interrupted,)


def failure(who: str, error: BaseException, fix: str = "report it to its author") -> CNIError:
    """*error* as a CNI error: itself when it is one, else one that names *who* raised it.

    An ``Overdue`` step becomes ``TryAgainLater``: it may be faster next time.  So does Ctrl-C.
    """
    if isinstance(error, CNIError):
        return error
    if isinstance(error, PASSING):
        return TryAgainLater("interrupted by SIGINT", fix="call it again")
    if isinstance(error, Overdue):
        late = TryAgainLater(str(error), fix=fix)
        late.__cause__ = error
        return late
    made = CNIError(f"{who} failed with {described(error)}", fix=fix)
    made.__cause__ = error  # the traceback, for the log
    return made


def described(error: BaseException) -> str:
    """The class and the text of an exception, also when its ``__str__`` fails."""
    try:
        text = str(error)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    except Exception:  # noqa: BLE001  a foreign exception's __str__ may raise anything
        return type(error).__name__


def shown(value: object) -> str:
    """The beginning of a value's ``repr``, also when its ``__repr__`` fails."""
    try:
        return f"{value!r:.200}"
    except Exception:  # noqa: BLE001  a foreign value's __repr__ may raise anything
        return f"a {type(value).__name__}"


def attempted(who: str, step: Callable[..., object], *arguments: object) -> CNIError | None:
    """Call one of several steps; its failure must not prevent the other steps.

    Returns the step's own error, or one that names *who* for any other exception, ``SystemExit``
    included; None on success.
    """
    try:
        step(*arguments)
    except PASSING:
        raise
    except BaseException as error:  # noqa: BLE001  a foreign step may raise anything
        return failure(who, error)
    return None
