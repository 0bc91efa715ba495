"""The typed façade of the hooks: the core calls these methods, never pluggy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from multus.errors import CNIError, InvalidConfig
from multus.values import frozen

if TYPE_CHECKING:
    import pluggy

    from multus.invoker import Declined, Invoker
    from multus.log import Log
    from multus.model.conf import Conf, Problem
    from multus.model.network import Attachment, Delegate, Element, Outcome, Plugin, Selection
    from multus.model.request import Request
    from multus.model.result import Result


@frozen
class Hooks:
    """All registered plugins' hooks, each with its kind's rules applied."""

    manager: pluggy.PluginManager

    def validate(self, conf: Conf) -> list[Problem]:
        """All problems; plugins that share a key may say the same."""
        answers = self._call("multus_validate", conf=conf)
        return list(dict.fromkeys(each for problems in answers for each in problems))

    def select(self, request: Request, conf: Conf) -> list[Selection]:
        # pluggy asks the last registered first; sources answer in the order of their names.
        answers = reversed(self._call("multus_select", request=request, conf=conf))
        return [
            selection
            for answer in answers
            for selection in (answer if isinstance(answer, Sequence) else (answer,))
        ]

    def resolve(self, element: Element, request: Request, conf: Conf) -> Delegate | None:
        delegate = self._call("multus_resolve", element=element, request=request, conf=conf)
        return cast("Delegate | None", delegate)

    def runtime_config(self, delegate: Delegate, request: Request, conf: Conf) -> dict[str, Any]:
        """Everything contributed; raises ``InvalidConfig`` when two plugins differ."""
        merged: dict[str, Any] = {}
        arguments = {"delegate": delegate, "request": request, "conf": conf}
        for entries in cast(
            "list[Mapping[str, Any]]", self._call("multus_runtime_config", **arguments)
        ):
            for capability, value in entries.items():
                if merged.setdefault(capability, value) != value:
                    raise InvalidConfig(
                        f"{delegate}: two values for runtimeConfig {capability!r}: {value!r} and"
                        f" {merged[capability]!r}: ask for it in one place"
                    )
        return merged

    def order(
        self, delegates: Sequence[Delegate], request: Request, conf: Conf
    ) -> Sequence[Delegate] | None:
        ordered = self._call("multus_order", delegates=delegates, request=request, conf=conf)
        return cast("Sequence[Delegate] | None", ordered)

    def invokers(self, plugin: Plugin, delegate: Delegate, conf: Conf) -> list[Invoker | Declined]:
        return list(self._call("multus_invoker", plugin=plugin, delegate=delegate, conf=conf))

    def merge(
        self, attachments: Sequence[Attachment], request: Request, conf: Conf
    ) -> Result | None:
        merged = self._call("multus_merge", attachments=attachments, request=request, conf=conf)
        return cast("Result | None", merged)

    def health(self, conf: Conf) -> list[CNIError]:
        return list(self._call("multus_health", conf=conf))

    def observers(self, log: Log) -> Observers:
        """The observers' hooks; what they raise goes to *log*."""
        return Observers(self.manager, log)

    def _call(self, hook: str, **arguments: Any) -> Any:
        return _guarded(hook, lambda: getattr(self.manager.hook, hook)(**arguments))


def _guarded(hook: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except CNIError:
        raise
    except Exception as error:  # noqa: BLE001  a foreign plugin may raise anything
        raise CNIError(
            f"a plugin failed in {hook} with {type(error).__name__}: {error}: report it to the"
            f" author of {_culprit(error)}"
        ) from error


def _culprit(error: BaseException) -> str:
    """The module that *error* was raised in."""
    trace = error.__traceback__
    module = "the plugin"
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", module)
        trace = trace.tb_next
    return module


@frozen
class Observers:
    """Those who are told; nothing that they do reaches the request."""

    manager: pluggy.PluginManager
    log: Log

    def attached(self, attachment: Attachment, request: Request, conf: Conf) -> None:
        self._tell("multus_attached", attachment=attachment, request=request, conf=conf)

    def undone(
        self, delegate: Delegate, error: CNIError | None, request: Request, conf: Conf
    ) -> None:
        self._tell("multus_undone", delegate=delegate, error=error, request=request, conf=conf)

    def detached(
        self, delegate: Delegate, error: CNIError | None, request: Request, conf: Conf
    ) -> None:
        self._tell("multus_detached", delegate=delegate, error=error, request=request, conf=conf)

    def finished(self, outcome: Outcome, request: Request, conf: Conf) -> None:
        self._tell("multus_finished", outcome=outcome, request=request, conf=conf)

    def _tell(self, hook: str, **arguments: Any) -> None:
        # Called one by one: pluggy would end the round at the first that raises.
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:  # noqa: BLE001  an observer's failure is never the request's
                self.log.error(
                    f"observer {implementation.plugin_name!r} failed in {hook}",
                    error=f"{type(error).__name__}: {error}",
                )
