"""Who wrote a configuration: the sources say it, the journal keeps it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import multus_source_conffile
import pytest
from attrs import evolve
from multus_networks import Source
from multus_source_nad.definition import delegate_of
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.delegates import delegate_from
from multus.api.kubernetes.networks import FIRST, SEED, SPRING
from multus.api.network import Delegate, Element, Plugin, Provenance
from multus.engine.resolve import resolve
from multus.registry.index import discover
from multus.registry.loading import load
from multus.state import predecessor
from multus.state.garbage import networks
from multus.state.journal import Journal
from multus.state.lines import planned_wire
from multus.state.record import Planned, Record, Step, applied
from multus.testing.apiserver import ApiServer
from multus.testing.session import new_session

NODE, TENANT = Provenance.NODE, Provenance.TENANT
CONFIG = {"type": "ptp", "name": "net", "cniVersion": "1.0.0"}


def test_a_source_that_does_not_say_it_has_read_a_tenants() -> None:
    assert delegate_from(CONFIG, conf_of(), "here").provenance is TENANT
    assert Delegate("net", (Plugin(CONFIG),), "1.0.0").provenance is TENANT
    assert Element("net", "here", config=CONFIG).provenance is TENANT


class TestSources:
    def test_standard_input_is_the_nodes(self) -> None:
        conf = conf_of(delegates=[CONFIG])
        installed = load(discover())
        (delegate,) = resolve(installed, request_of(), conf, new_session()).delegates
        assert delegate.provenance is NODE

    def test_a_file_is_the_nodes(self, tmp_path: Path) -> None:
        (tmp_path / "a.conf").write_text(json.dumps(CONFIG))
        conf = conf_of(confDir=str(tmp_path), clusterNetwork="net")
        element = Element("net", "key 'clusterNetwork'", "source-conffile", provenance=NODE)
        delegate = multus_source_conffile.multus_resolve(element, request_of(), conf)
        assert delegate is not None
        assert delegate.provenance is NODE

    @pytest.mark.parametrize("namespace", ["team", "kube-system"])
    def test_a_definition_is_a_tenants_in_every_namespace(self, namespace: str) -> None:
        wire = {"spec": {"config": json.dumps(CONFIG)}}
        element = Element("net", "annotation")
        found = delegate_of(wire, namespace, element, conf_of())
        assert found.provenance is TENANT

    def test_a_file_that_a_definition_leaves_its_configuration_to_is_the_nodes(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "a.conf").write_text(json.dumps(CONFIG))
        conf = conf_of(confDir=str(tmp_path))
        element = Element("net", "annotation")
        assert delegate_of({}, "team", element, conf).provenance is NODE

    @pytest.mark.parametrize("dialect", [FIRST, SEED, SPRING], ids=lambda each: each.group)
    def test_a_network_object_is_a_tenants(self, dialect: Any, tmp_path: Path) -> None:
        source = Source("source-crd", (dialect,))
        meta = {"name": "a", "namespace": dialect.namespace or "team"}
        wire = {"apiVersion": f"{dialect.group}/v1", "kind": "Network", "metadata": meta}
        with ApiServer() as api:
            api.create({**wire, "plugin": "bridge", "args": ""})
            pod = api.create_pod("web", {dialect.annotation: '[{"name":"a"}]'}, namespace="team")
            conf = Conf.from_wire({"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path)})
            named = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "team"}
            request = request_of(args={**named, "K8S_POD_UID": pod["metadata"]["uid"]})
            session = new_session()
            (selection,) = source.select(request, conf, session) or []
            delegate = source.resolve(selection.elements[0], request, conf, session)
        assert delegate is not None
        assert delegate.provenance is TENANT


class TestJournal:
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        made = Journal(str(tmp_path / "cni"))
        made.prepare()
        return made

    def planned(self, provenance: Provenance) -> Planned:
        step = Step(Plugin(CONFIG, "exec"), CONFIG, "exec")
        delegate = Delegate("net", (step.plugin,), "1.0.0", ifname="eth0", provenance=provenance)
        return Planned(delegate, (step,))

    @pytest.mark.parametrize("provenance", list(Provenance))
    def test_keeps_it(self, journal: Journal, provenance: Provenance) -> None:
        journal.begin(request_of(), {"name": "n"}, [self.planned(provenance)]).close()
        record = journal.find("c1", "eth0")
        assert record is not None
        assert record.planned[0].delegate.provenance is provenance

    def test_a_record_without_it_is_carried_out_as_it_was_made(self, journal: Journal) -> None:
        wire = planned_wire(0, self.planned(TENANT))
        del wire["provenance"]
        record = applied(Record("x", request_of()), wire)
        assert record.planned[0].delegate.provenance is NODE

    def test_what_the_go_multus_recorded_may_be_anyones(self, tmp_path: Path) -> None:
        text = base64.b64encode(json.dumps(CONFIG).encode()).decode()
        for entries in ([CONFIG], [{"Bytes": text}]):
            path = tmp_path / "c1"
            path.write_text(json.dumps(entries))
            path.chmod(0o600)
            found = predecessor.read(str(path), "eth0", conf_of())
            assert found is not None
            (planned,) = found.planned
            assert planned.delegate.provenance is TENANT

    def test_gc_asks_for_one_configuration_of_two_owners_twice(self) -> None:
        both = [self.planned(each).delegate for each in Provenance]
        assert len(networks(both, "n", [], [])) == 2
        assert len(networks([both[0], evolve(both[0], label="other")], "n", [], [])) == 1
