"""Whether an error of CHECK says something about the container.

Some plugins' CHECK cannot succeed, whatever the container has: the reference ``bridge`` up to 1.1.1
without ``ipam`` asks for a plugin without a name.  The error's text and code do not tell it from a
difference.  So the plugin is asked about a container that does not exist: when it answers with the
same error, that is not about this container.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CheckFailed, CNIError, DelegateFailed
from multus.engine.invoke.calling import carry_out

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Invocation
    from multus.api.request import Request
    from multus.api.result import Result

#: The arguments in ``CNI_ARGS`` that name the container's pod.
_OF_THE_POD = frozenset({"K8S_POD_NAME", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID"})


def answers_the_same(invoker: Invoker, invocation: Invocation, error: CNIError) -> bool:
    """Whether a CHECK ends in *error* for a container that does not exist, too.

    It is not asked again after a difference that an invoker found, nor when the plugin hung or
    crashed.
    """
    if isinstance(error, CheckFailed | DelegateFailed) and not error.foreign:
        return False
    try:
        carry_out(invoker, invoker.check, _of_a_stranger(invocation))
    except CNIError as other:
        return _content(other) == _content(error)
    return False


def _content(error: CNIError) -> tuple[int, str, str]:
    return error.number, error.msg, error.details


def _of_a_stranger(invocation: Invocation) -> Invocation:
    """The CHECK of a container with another ID and pod, whose interfaces do not exist."""
    name = f"x{secrets.token_hex(4)}"
    result = invocation.prev_result
    return evolve(
        invocation,
        request=_request(invocation.request),
        delegate=evolve(invocation.delegate, ifname=name),
        prev_result=None if result is None else _result(result, invocation.ifname, name),
    )


def _request(request: Request) -> Request:
    other = secrets.token_hex(16)
    args = {key: other if key in _OF_THE_POD else each for key, each in request.args.items()}
    text = ";".join(f"{key}={each}" for key, each in args.items())
    environ = {**request.environ, **({"CNI_ARGS": text} if text else {})}
    return evolve(request, container_id=other, args=args, environ=environ)


def _result(result: Result, ifname: str, name: str) -> Result:
    """The same addresses and routes, on interfaces of other names."""
    links = tuple(
        evolve(link, name=name if link.name == ifname else f"{name}.{index}", mac="")
        for index, link in enumerate(result.interfaces)
    )
    return evolve(result, interfaces=links)
