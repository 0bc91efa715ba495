"""What an expression of Prometheus asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser
from attrs import frozen

#: What Grafana puts in place of its variables.
_VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


@frozen
class Series:
    """A metric, and the labels by whose values the expression chooses."""

    metric: str
    labels: frozenset[str]


def asked_for(expression: str) -> set[Series]:
    """The series of an expression, which may be a panel's; raises ``ValueError``."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return {
        Series(each.name or "", frozenset(label.name for label in each.matchers.matchers))
        for each in _selectors(promql_parser.parse(expression))
    }


def _selectors(part: Any) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(part, promql_parser.MatrixSelector):
        part = part.vector_selector
    if isinstance(part, promql_parser.VectorSelector):
        yield part
        return
    for name in ("expr", "lhs", "rhs", "param"):
        inner = getattr(part, name, None)
        if isinstance(inner, promql_parser.Expr):
            yield from _selectors(inner)
    for inner in getattr(part, "args", ()):
        yield from _selectors(inner)
