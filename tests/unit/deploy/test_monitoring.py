"""Alerts, the dashboard and what is scraped; ``tests/integration/deploy`` has the real metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promtool
import pytest
import yaml
from promql import asked_for
from unit.deploy.conftest import (
    CHART,
    DEPLOY,
    VERSIONS,
    Helm,
    Objects,
    bare,
    containers,
    objects,
    validate,
)
from unit.deploy.test_manifests import overlay

FOLDER = DEPLOY / "monitoring"
ALERTS = FOLDER / "alerts.yaml"
EVERYTHING = {name: {"enabled": True} for name in ("podMonitor", "alerts", "dashboard")}
PORT = 9742


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


# --- Alerts ---------------------------------------------------------------------------------------


def test_alerts_are_raised_by_what_they_are_for() -> None:
    promtool.checked("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    promtool.checked("test", "rules", str(Path(__file__).parent / "alerts.yaml"))


def test_each_alert_has_a_case_that_raises_it() -> None:
    tested = (Path(__file__).parent / "alerts.yaml").read_text()
    for rule in rules():
        assert re.search(rf"\b{rule['alert']}\b", tested), rule["alert"]


def test_each_alert_asks_for_the_daemons_alone_and_says_what_to_do() -> None:
    for rule in rules():
        for series in asked_for(rule["expr"]):
            assert "job" in series.labels, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_each_label_in_an_alerts_text_is_one_that_its_expression_keeps() -> None:
    for rule in rules():
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        (kept,) = re.findall(r"^(?:\w+\([\d.]+, )?sum by \(([\w, ]+)\)", rule["expr"]) or [None]
        if kept is not None:
            assert named <= set(kept.split(", ")), rule["alert"]


# --- The dashboard --------------------------------------------------------------------------------


def test_each_panel_has_a_name_a_place_of_its_own_and_expressions_that_can_be_read() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            assert asked_for(target["expr"])
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.findall(r"sum by \(([\w, ]+)\)", target["expr"])
            assert not grouped or named <= set(grouped[0].split(", "))


# --- Manifests and chart --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def charts(helm: Helm) -> Objects:
    return helm.render(metrics={"enabled": True, **EVERYTHING})


def written(name: str) -> dict[str, Any]:
    (wire,) = objects((FOLDER / f"{name}.yaml").read_text()).values()
    return wire


def test_the_operators_rule_has_the_alerts() -> None:
    assert written("prometheusrule")["spec"] == yaml.safe_load(ALERTS.read_text())


def test_the_chart_renders_what_the_component_says(charts: Objects, tmp_path: Path) -> None:
    component = overlay(tmp_path, "monitoring")
    for key in (("PodMonitor", "multus-python"), ("PrometheusRule", "multus-python")):
        assert bare(charts[key]) == bare(component[key])
    name = "multus-python-dashboard"
    assert charts["ConfigMap", name]["data"] == component["ConfigMap", name]["data"]
    (settings,) = (
        wire["data"]["daemon.json"]
        for (kind, _), wire in component.items()
        if kind == "ConfigMap" and "daemon.json" in wire["data"]
    )
    chart = charts["ConfigMap", "multus-python"]["data"]["daemon.json"]
    assert json.loads(settings) == json.loads(chart)
    daemons = [
        next(each for each in containers(made["DaemonSet", "multus-python"]) if "ports" in each)
        for made in (charts, component)
    ]
    assert [each["name"] for each in daemons] == ["daemon", "daemon"]
    assert daemons[0]["ports"] == daemons[1]["ports"]
    for made in (charts, component):
        validate(made["DaemonSet", "multus-python"], VERSIONS[0])


def test_what_is_scraped_is_where_the_daemon_shows_it(helm: Helm) -> None:
    made = helm.render(metrics={"enabled": True, "port": 9999, "podMonitor": {"enabled": True}})
    settings = json.loads(made["ConfigMap", "multus-python"]["data"]["daemon.json"])
    assert (settings["metricsAddress"], settings["metricsPort"]) == ("pod", 9999)
    _, daemon, _ = containers(made["DaemonSet", "multus-python"])
    (port,) = daemon["ports"]
    monitor = made["PodMonitor", "multus-python"]["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (port["name"], port["containerPort"]) == (endpoint["port"], 9999)
    template = made["DaemonSet", "multus-python"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    fields = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in daemon["env"]}
    assert fields["MULTUS_POD_IP"] == "status.podIP"


def test_labels_that_operators_select_by_are_added(helm: Helm) -> None:
    labels = {"release": "prometheus"}
    parts = {name: {"enabled": True, "labels": labels} for name in EVERYTHING}
    made = helm.render(metrics={"enabled": True, **parts})
    for key in (
        ("PodMonitor", "multus-python"),
        ("PrometheusRule", "multus-python"),
        ("ConfigMap", "multus-python-dashboard"),
    ):
        assert labels.items() <= made[key]["metadata"]["labels"].items()


def test_nothing_is_shown_unless_it_is_asked_for(helm: Helm) -> None:
    made = helm.render()
    assert "metricsPort" not in made["ConfigMap", "multus-python"]["data"]["daemon.json"]
    assert not any("ports" in each for each in containers(made["DaemonSet", "multus-python"]))
    assert {kind for kind, _ in made}.isdisjoint({"PodMonitor", "PrometheusRule"})


def test_the_charts_port_is_the_components() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["metrics"]["port"] == PORT
    assert json.loads((FOLDER / "daemon.json").read_text())["metricsPort"] == PORT
