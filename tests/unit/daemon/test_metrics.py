from __future__ import annotations

import re

from multus.daemon.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.text().decode().splitlines()


def test_requests_are_counted_by_command_and_code() -> None:
    metrics = Metrics()
    for code in ("0", "11", "11"):
        metrics.count("/cni", "ADD", code)
        metrics.took("ADD", 0.2)
    shown = lines(metrics)
    assert 'multus_server_request_total{code="0",handler="/cni",method="ADD"} 1.0' in shown
    assert 'multus_server_request_total{code="11",handler="/cni",method="ADD"} 2.0' in shown
    assert 'multus_server_request_seconds_bucket{le="0.25",method="ADD"} 3.0' in shown


def test_unknown_commands_make_no_new_series() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.count("/cni", f"X{number}", "4")
    series = [line for line in lines(metrics) if line.startswith("multus_server_request_total{")]
    assert series == ['multus_server_request_total{code="4",handler="/cni",method="other"} 100.0']


def test_the_number_of_types_is_bounded() -> None:
    metrics = Metrics()
    for number in range(500):
        metrics.delegate("ADD", f"type{number}", 0.001)
    series = [each for each in lines(metrics) if each.startswith("multus_delegate_seconds_count{")]
    assert len(series) == 65
    assert 'multus_delegate_seconds_count{type="other",verb="ADD"} 436.0' in series


def test_delegates_and_stages_have_histograms() -> None:
    metrics = Metrics()
    metrics.delegate("ADD", "ptp", 0.003)
    metrics.stage("ADD", "resolve", 0.003)
    shown = lines(metrics)
    assert 'multus_delegate_seconds_count{type="ptp",verb="ADD"} 1.0' in shown
    assert 'multus_stage_seconds_count{stage="resolve",verb="ADD"} 1.0' in shown


def test_a_plugins_hooks_have_histograms() -> None:
    metrics = Metrics()
    metrics.plugin("source-nad", "multus_select", 0.003)
    (line,) = [each for each in lines(metrics) if each.startswith("multus_plugin_seconds_count")]
    assert line == 'multus_plugin_seconds_count{plugin="source-nad",task="multus_select"} 1.0'


def test_the_values_of_every_label_are_bounded() -> None:
    """A plugin can write anything to its worker's channel."""
    metrics = Metrics()
    for number in range(300):
        odd = f"odd{number}"
        metrics.count("/cni", odd, odd)
        metrics.took(odd, 0.0)
        metrics.count("/cni", "ADD", str(number))
        metrics.stage(odd, "resolve", 0.0)
        metrics.stage("ADD", odd, 0.0)
        metrics.delegate(odd, odd, 0.0)
        metrics.plugin(odd, "multus_select", 0.0)
        metrics.plugin("p", odd, 0.0)
    values: dict[tuple[str, str], set[str]] = {}
    for line in lines(metrics):
        if line.startswith("multus_"):
            name, labels = line.partition("{")[::2]
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels.rpartition("}")[0]):
                values.setdefault((name, label), set()).add(value)
    assert {each for each, known in values.items() if len(known) > 66} == set()
    counted = "multus_server_request_total"
    assert values[counted, "method"] == {"ADD", "other"}
    assert values["multus_stage_seconds_count", "stage"] == {"resolve", "other"}
    assert values["multus_stage_seconds_count", "verb"] == {"ADD", "other"}


def test_two_daemons_in_one_process_have_separate_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.journal_error()
    assert "multus_journal_errors_total 1.0" in lines(one)
    assert "multus_journal_errors_total 0.0" in lines(other)
