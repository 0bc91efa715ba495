"""The work that a pod's author or a tenant can cause is bounded and linear in the input."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import multus_source_crd
import multus_source_nad
import pytest
from attrs import frozen
from multus_source_nad.annotation import parse

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig, TryAgainLater
from multus.api.keys import problems
from multus.api.kubernetes import SHARED_KEYS, Deadline, ObjectRef, view_of
from multus.api.network import Delegate
from multus.api.request import Request
from multus.api.session import Session
from multus.cli.objects import Objects
from multus.testing.session import new_session

MIB = 1024 * 1024
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
SPRING = "kubernetes.v1.cni.cncf.io/networks"
SEED = "networks"


def listed(count: int, name: str = "e") -> str:
    return json.dumps([{"name": name}] * count)


def short(count: int, name: str = "e") -> str:
    return ",".join([name] * count)


#: Definitions by API group, plural, namespace and name.
Named = dict[tuple[str, str, str, str], Any]

Form = Callable[[int], str]
WAYS: dict[str, tuple[ModuleType, str, Form]] = {
    "today-short": (multus_source_nad, NETWORKS, short),
    "today-list": (multus_source_nad, NETWORKS, listed),
    "default-network-short": (multus_source_nad, DEFAULT_NETWORK, short),
    "default-network-list": (multus_source_nad, DEFAULT_NETWORK, listed),
    "seed": (multus_source_crd, SEED, listed),
    "spring-short": (multus_source_crd, SPRING, short),
    "spring-list": (multus_source_crd, SPRING, listed),
}
ALL = pytest.mark.parametrize(("source", "annotation", "form"), WAYS.values(), ids=WAYS.keys())
MANY = {name: way for name, way in WAYS.items() if way[1] != DEFAULT_NETWORK}
OF_MANY = pytest.mark.parametrize(("source", "annotation", "form"), MANY.values(), ids=MANY.keys())


class Counting(Objects):
    """An ``Api`` that serves given objects; counts how many are read."""

    asked = 0

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        Counting.asked += len(wanted)
        return super().get_each(wanted, deadline)


@frozen
class Pod:
    """A pod with annotations, and the definitions that there are, as sources see them."""

    request: Request
    conf: Conf
    session: Session

    @classmethod
    def of(cls, annotations: dict[str, str], definitions: Named | None = None, **keys: Any) -> Pod:
        Counting.asked = 0
        metadata = {"namespace": "team", "name": "web", "annotations": annotations}
        api = Counting(definitions or {}, {("team", "web"): metadata})
        args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "team"}
        conf = Conf.from_wire({"name": "n", "kubeconfig": "/nowhere", **keys})
        return cls(Request("ADD", args=args), conf, new_session(api=api))

    def resolved(self, source: ModuleType) -> list[Delegate]:
        found = []
        for selection in source.multus_select(self.request, self.conf, self.session) or ():
            for element in selection.elements:
                found.append(source.multus_resolve(element, self.request, self.conf, self.session))
        return found


def nads(**configs: str) -> Named:
    where = ("k8s.cni.cncf.io", "network-attachment-definitions", "team")
    return {(*where, name): {"spec": {"config": text}} for name, text in configs.items()}


def networks(*names: str) -> Named:
    wire = {"plugin": "bridge", "args": "[{}]"}
    groups = ("kubernetes-network.cni.cncf.io", "kubernetes.cni.cncf.io")
    return {(g, "networks", "team", n): wire for g in groups for n in names}


# --- The number of networks -----------------------------------------------------------------------


@ALL
def test_a_quarter_of_a_megabyte_of_networks_costs_nothing(
    source: ModuleType, annotation: str, form: Form
) -> None:
    count = 120_000 if form is short else 15_000
    text = form(count)
    assert 200_000 < len(text) < 256 * 1024
    pod = Pod.of({annotation: text})
    tracemalloc.start()
    try:
        with pytest.raises(InvalidConfig) as caught:
            pod.resolved(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for part in (repr(annotation), "pod team/web", str(count), "64 are allowed", "'maxNetworks'"):
        assert part in caught.value.msg
    # The text is copied once; each entry creates only the objects of the JSON decoder.
    assert peak < (2 * MIB if form is short else 8 * MIB)
    assert Counting.asked == 0


@ALL
def test_the_number_is_a_setting(source: ModuleType, annotation: str, form: Form) -> None:
    definitions = {**nads(e='{"type": "bridge"}'), **networks("e")}
    keys = {"multusNamespace": "team"}
    if annotation == DEFAULT_NETWORK:
        with pytest.raises(InvalidConfig, match="names 64 networks: name one"):
            Pod.of({annotation: form(64)}, definitions, **keys).resolved(source)
    else:
        assert len(Pod.of({annotation: form(64)}, definitions).resolved(source)) == 64
        more = Pod.of({annotation: form(200)}, definitions, maxNetworks=200)
        assert len(more.resolved(source)) == 200
    with pytest.raises(InvalidConfig, match="chooses 65 networks, and 64 are allowed"):
        Pod.of({annotation: form(65)}, definitions).resolved(source)
    with pytest.raises(InvalidConfig, match="chooses 2 networks, and 1 are allowed"):
        Pod.of({annotation: form(2)}, definitions, maxNetworks=1).resolved(source)


@pytest.mark.parametrize("value", [0, -1, 1025, "64", 1.5, True, None])
def test_a_wrong_number_is_a_problem_of_the_configuration(value: object) -> None:
    reader = Conf.from_wire({"name": "n", "maxNetworks": value}).reader
    found = problems(reader, SHARED_KEYS)
    assert [each.path for each in found] == ([] if value is None else [("maxNetworks",)])


def calls(act: Callable[[], object]) -> int:
    """How many functions were called: a measure of time without noise."""
    count = 0

    def note(frame: object, what: str, argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


@OF_MANY
def test_work_grows_with_the_number_of_networks_and_not_with_its_square(
    source: ModuleType, annotation: str, form: Form
) -> None:
    names = [f"n{number}" for number in range(800)]
    definitions = {**nads(**dict.fromkeys(names, '{"type": "bridge"}')), **networks(*names)}

    def work(count: int) -> int:
        some = names[:count]
        text = ",".join(some) if form is short else json.dumps([{"name": each} for each in some])
        pod = Pod.of({annotation: text}, definitions, maxNetworks=1024)
        found = calls(lambda: pod.resolved(source))
        assert count <= Counting.asked <= 2 * count
        return found

    work(2)  # imports
    few, many = work(100), work(800)
    assert many < 9 * few


# --- Its length -----------------------------------------------------------------------------------


@ALL
def test_an_annotation_that_no_api_server_takes_is_not_read(
    source: ModuleType, annotation: str, form: Form
) -> None:
    text = f"{form(1)}{' ' * 256 * 1024}"
    with pytest.raises(InvalidConfig) as caught:
        Pod.of({annotation: text}).resolved(source)
    for part in (repr(annotation), "pod team/web", str(len(text)), "262144", "shorten it"):
        assert part in caught.value.msg


LONG = "x" * 200_000
HOSTILE: dict[str, dict[str, Any]] = {
    "name": {"name": f"A{LONG}"},
    "namespace": {"namespace": f"A{LONG}"},
    "interface": {"interface": LONG},
    "ips": {"ips": [LONG]},
    "prefix": {"ips": ["10.0.0.1/" + "1" * 200_000]},
    "prefix-of-other-digits": {"ips": ["10.0.0.1/²"]},
    "many-ips": {"ips": ["10.0.0.1"] * 15_000},
    "mac": {"mac": LONG},
    "guid": {"infiniband-guid": LONG},
    "gateway": {"default-route": [LONG]},
    "many-gateways": {"default-route": ["10.0.0.1"] * 15_000},
}


@pytest.mark.parametrize("keys", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_is_refused_is_refused_in_few_words(keys: dict[str, Any]) -> None:
    text = json.dumps([{"name": "e", **keys}])
    with pytest.raises(InvalidConfig) as caught:
        Pod.of({NETWORKS: text}).resolved(multus_source_nad)
    assert len(caught.value.msg) < 1000
    assert "pod team/web, entry 1" in caught.value.msg


PORT = {"hostPort": 1, "containerPort": 1}
ODD: dict[str, dict[str, Any]] = {
    "key": {LONG: 1},
    "keys": {f"k{number}": 1 for number in range(20_000)},
    "protocol": {"portMappings": [{**PORT, "protocol": LONG}]},
    "host-ip": {"portMappings": [{**PORT, "hostIP": LONG}]},
    "ports": {"portMappings": [{"hostPort": 0}] * 5_000},
    "bandwidth": {"bandwidth": {LONG: 1}},
}


@pytest.mark.parametrize("keys", ODD.values(), ids=ODD.keys())
def test_whatever_is_remarked_is_remarked_in_few_words(keys: dict[str, Any]) -> None:
    text = json.dumps([{"name": "e", **keys}])
    (element,) = parse(text, "team", "here", "source-nad")
    assert 1 <= len(element.remarks) <= 20
    assert all(len(str(each)) < 500 for each in element.remarks)


@pytest.mark.parametrize("form", ["{}/e", "e@{}", "{}"])
def test_the_short_form_is_refused_in_few_words_too(form: str) -> None:
    for source, annotation in ((multus_source_nad, NETWORKS), (multus_source_crd, SPRING)):
        with pytest.raises(InvalidConfig) as caught:
            Pod.of({annotation: form.format(f"A/{LONG}")}).resolved(source)
        assert len(caught.value.msg) < 1000


def test_a_full_annotation_of_ports_is_read_in_step_with_its_length() -> None:
    def work(count: int) -> int:
        ports = [{"hostPort": 1, "containerPort": 1}] * count
        text = json.dumps([{"name": "e", "portMappings": ports}])
        pod = Pod.of({NETWORKS: text}, nads(e='{"type": "bridge"}'))
        return calls(lambda: pod.resolved(multus_source_nad))

    assert work(4000) < 9 * work(500)


# --- Definitions ----------------------------------------------------------------------------------


@pytest.fixture
def large() -> Iterator[Named]:
    """Definitions of a megabyte each."""
    config = json.dumps({"type": "bridge", "x": "y" * MIB})
    yield nads(**{f"n{number}": config for number in range(64)})


@pytest.mark.parametrize("same", [True, False], ids=["one-many-times", "many"])
def test_the_definitions_of_one_pod_are_bounded_together(large: Named, same: bool) -> None:
    def names(count: int) -> str:
        return ",".join("n0" if same else f"n{number}" for number in range(count))

    assert len(Pod.of({NETWORKS: names(3)}, large).resolved(multus_source_nad)) == 3
    with pytest.raises(InvalidConfig) as caught:
        Pod.of({NETWORKS: names(64)}, large).resolved(multus_source_nad)
    for part in ("pod team/web, entry 4", "4194304 bytes together", "choose fewer networks"):
        assert part in caught.value.msg
    assert Counting.asked <= 8


def test_a_chain_of_thousands_of_plugins_is_refused() -> None:
    definitions = nads(e=json.dumps({"plugins": [{"type": "tuning"}] * 65}))
    with pytest.raises(InvalidConfig, match=r"team/e has 65 'plugins': write at most 64"):
        Pod.of({NETWORKS: "e"}, definitions).resolved(multus_source_nad)


def test_the_deadline_is_looked_at_for_every_network() -> None:
    pod = Pod.of({NETWORKS: "e,e"}, nads(e='{"type": "bridge"}'))
    asked = (pod.request, pod.conf, pod.session)
    (selection,) = multus_source_nad.multus_select(*asked) or []
    assert multus_source_nad.multus_resolve(selection.elements[0], *asked)
    view = view_of(*asked)
    assert view is not None
    view.deadline = Deadline(time.monotonic())
    with pytest.raises(TryAgainLater, match="entry 2: the time limit passed"):
        multus_source_nad.multus_resolve(selection.elements[1], *asked)
