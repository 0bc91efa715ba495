from __future__ import annotations

import pytest
from unit.values import request_of

from multus.api.request import Pod, parse_args


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("", {}),
        ("IgnoreUnknown=1", {"IgnoreUnknown": "1"}),
        ("IgnoreUnknown=1;;K8S_POD_NAME=web;", {"IgnoreUnknown": "1", "K8S_POD_NAME": "web"}),
        ("A=b=c", {"A": "b=c"}),
        ("A=", {"A": ""}),
    ],
)
def test_arguments_are_taken_apart(text: str, args: dict[str, str]) -> None:
    assert parse_args(text) == args


@pytest.mark.parametrize("text", ["A", "A=1;B", ";x;"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_args(text)


def test_a_pod_has_a_name_and_a_namespace() -> None:
    args = {
        "K8S_POD_NAME": "web",
        "K8S_POD_NAMESPACE": "shop",
        "K8S_POD_UID": "u",
        "K8S_POD_INFRA_CONTAINER_ID": "i",
    }
    assert request_of(args=args).pod == Pod("shop", "web", "u", "i")
    assert str(request_of(args=args)) == "container c1 of pod shop/web"


@pytest.mark.parametrize("missing", ["K8S_POD_NAME", "K8S_POD_NAMESPACE"])
def test_half_a_pod_is_none(missing: str) -> None:
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "shop"}
    # podman gives a name without a namespace.
    assert request_of(args={**args, missing: ""}).pod is None
    assert request_of(args={k: v for k, v in args.items() if k != missing}).pod is None


def test_a_pod_without_a_namespace_is_called_by_its_name() -> None:
    request = request_of(args={"K8S_POD_NAME": "web"})
    assert (request.pod, request.pod_label) == (None, "web")
    assert str(request) == "container c1 of pod web"
    assert request_of(args={}).pod_label == ""
