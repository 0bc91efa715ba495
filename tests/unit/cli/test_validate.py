from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli import seed
from unit.cli.conftest import Command
from waiting import PATIENCE

File = Callable[[str, "str | dict[str, Any]"], Path]


def conf(**keys: Any) -> dict[str, Any]:
    return {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "delegates": [{"type": "ptp"}],
        **keys,
    }


def problems(said: Any, severity: str = "error") -> list[dict[str, Any]]:
    return [each for each in said.json["findings"] if each["severity"] == severity]


def test_the_comment_in_the_first_documentations_example_is_named_with_line_and_fix(
    multus: Command, file: File
) -> None:
    said = multus("validate", "--json", "-f", file("multus-cni.conf", seed.CONF_FILE))
    (problem,) = problems(said)
    assert said.status == 1
    assert (problem["line"], problem["column"], problem["code"]) == (7, 17, 6)
    assert "#part of sriov plugin conf is a comment" in problem["reason"]
    assert problem["fix"] == "delete it"


def test_without_its_comment_that_example_is_right(multus: Command, file: File) -> None:
    text = seed.CONF_FILE.replace("#part of sriov plugin conf", "")
    said = multus("validate", "-f", file("multus-cni.conf", text))
    assert said.status == 0
    assert "0 problem(s), 0 warning(s)" in said.out


def test_a_comment_in_a_file_that_multus_loads_itself_is_a_note(
    multus: Command, file: File
) -> None:
    path = file("10-ptp.conf", '{\n  # ours\n  "name": "p", "type": "ptp"\n}')
    said = multus("validate", "--json", "-f", path)
    assert said.status == 0
    (note,) = said.json["findings"]
    assert (note["severity"], note["line"]) == ("note", 2)


@pytest.mark.parametrize(
    ("written", "column"),
    [("\\opt\\cni\\bin", 13), ('"\\opt\\cni\\bin"', 13), ("C:\\opt", 13)],
    ids=["unquoted", "quoted", "drive"],
)
def test_a_windows_path_is_named_and_the_slashes_are_shown(
    multus: Command, file: File, written: str, column: int
) -> None:
    text = '{\n  "name": "n", "type": "multus", "delegates": [{"type": "ptp"}],\n'
    text += f'  "binDir": {written}\n}}'
    said = multus("validate", "--json", "-f", file("multus.conf", text))
    first = problems(said)[0]
    assert said.status == 1
    assert (first["line"], first["code"]) == (3, 6)
    if not written.startswith("C"):
        assert first["column"] == column
        assert first["fix"] == 'write "/opt/cni/bin"'


def test_an_escape_that_json_knows_does_not_hide_a_windows_path(
    multus: Command, file: File
) -> None:
    text = '{"name": "n", "type": "multus", "delegates": [{"type": "a"}], "binDir": "\\bin\\net"}'
    (problem,) = problems(multus("validate", "--json", "-f", file("m.conf", text)))
    assert problem["fix"] == 'write "/bin/net"'


def test_every_slip_of_a_file_is_told_at_once(multus: Command, file: File) -> None:
    text = """\
{
  'name': "n",
  "type": "multus",  // ours
  "always_use_default": True,
  "delegates": [
    {"type": "ptp",},
  ],
}
"""
    said = multus("validate", "--json", "-f", file("multus.conf", text))
    slips = [(each["line"], each["subject"]) for each in problems(said) if each["code"] == 6]
    assert [line for line, _ in slips] == [2, 3, 4, 6, 6, 7]
    # What it means is read all the same.
    assert "always_use_default" in [each["subject"] for each in problems(said)]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("source-nads", "did you mean 'source-nad'?"),
        ("multus-sourcenad", "did you mean 'multus-source-nad'?"),
        ("zzz", "remove it; 'multus plugins' lists them"),
    ],
)
def test_a_blocked_plugin_that_is_not_installed_is_said(
    multus: Command, file: File, name: str, fix: str
) -> None:
    blocked = ["source-crd", "Multus_Source.NAD", name]
    said = multus("validate", "--json", "-f", file("a.conf", conf(blockedPlugins=blocked)))
    (warning,) = problems(said, "warning")
    assert (said.status, warning["subject"], warning["fix"]) == (0, "blockedPlugins", fix)
    assert f"'{name}'" in warning["reason"]


WRONG_KEYS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"name": "a b"}, "name", 7, "invalid network name"),
    ({"name": None}, "name", 7, "missing network name"),
    ({"cniVersion": "9.9"}, "cniVersion", 1, "incompatible CNI versions"),
    ({"cniVersions": "1.0.0"}, "cniVersions", 7, "must be a list"),
    ({"binDir": "\0"}, "binDir", 7, "is not a valid path"),
    ({"cniDir": 5}, "cniDir", 7, "must be a string"),
    ({"naming": "x"}, "naming", 7, "'x'"),
    ({"merger": []}, "merger", 7, "must be a string"),
    ({"invokers": {"ptp": 1}}, "invokers.ptp", 7, "must be a string"),
    ({"blockedPlugins": [1]}, "blockedPlugins[0]", 7, "must be a string"),
    ({"delegateTimeout": -1}, "delegateTimeout", 7, "-1"),
    ({"always_use_default": "perhaps"}, "always_use_default", 7, "must be true or false"),
    ({"logLevel": 3}, "logLevel", 7, "must be a string"),
    ({"logOptions": {"maxAge": "1"}}, "logOptions.maxAge", 7, "must be a whole number"),
    ({"logFile": 5}, "logFile", 7, "must be a string"),
    ({"delegates": {"type": "ptp"}}, "delegates", 7, "must be a list"),
    ({"delegates": [5]}, "delegates[0]", 7, "must be an object"),
    ({"delegates": [{}]}, "delegates[0]", 7, "delegate must have the field 'type'"),
    ({"delegates": [{"type": 5}]}, "delegates[0].type", 7, "must be a string"),
    ({"delegates": [{"type": "../x"}]}, "delegates[0].type", 7, "'../x'"),
    (
        {"delegates": [{"type": "a"}, {"type": "b", "masterplugin": "x"}]},
        "delegates[1].masterplugin",
        7,
        "must be a bool",
    ),
    (
        {"delegates": [{"type": "a", "masterplugin": True}, {"type": "b", "masterplugin": True}]},
        "delegates[1].masterplugin",
        7,
        "only one delegate can have 'masterplugin'",
    ),
    ({"delegates": [{"plugins": []}]}, "delegates[0].plugins", 7, "is empty"),
    ({"delegates": [{"plugins": [{"type": ""}]}]}, "delegates[0].plugins[0].type", 7, "'type'"),
    ({"delegates": None}, "(all of it)", 7, "delegates or kubeconfig option is must"),
    ({"kubeconfig": 5}, "kubeconfig", 7, "must be a string"),
    ({"confDir": 5, "delegates": [{"type": "a"}]}, "confDir", 7, "must be a string"),
    ({"apiTimeout": 0}, "apiTimeout", 7, "0"),
]


@pytest.mark.parametrize(
    ("keys", "subject", "code", "words"), WRONG_KEYS, ids=[str(each[0]) for each in WRONG_KEYS]
)
def test_a_wrong_key_is_told_with_its_path_line_and_code(
    multus: Command, file: File, keys: dict[str, Any], subject: str, code: int, words: str
) -> None:
    said = multus("validate", "--json", "-f", file("multus.conf", conf(**keys)))
    assert said.status == 1
    found = {each["subject"]: each for each in problems(said)}
    assert subject in found, said.out
    problem = found[subject]
    assert problem["code"] == code
    assert words in problem["reason"]
    assert problem["line"] >= 1
    assert len(found) == len(problems(said)) == 1, said.out


def test_all_wrong_keys_are_told_not_only_the_first(multus: Command, file: File) -> None:
    bad = conf(name="a b", cniVersion="9", binDir=5, cniDir="y", logLevel=5, naming="q")
    bad["delegates"] = [{}, {"type": 1}, {"type": "ptp", "masterplugin": 3}]
    said = multus("validate", "--json", "-f", file("multus.conf", bad))
    assert [each["subject"] for each in problems(said)] == [
        "name",
        "cniVersion",
        "delegates[0]",
        "delegates[1].type",
        "delegates[2].masterplugin",
        "binDir",
        "cniDir",
        "logLevel",
        "naming",
    ]


REMARKS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"binDir": "opt"}, "binDir", "is 'opt', relative to the working", "use an absolute path"),
    ({"kubeconfig": "k"}, "kubeconfig", "is 'k', relative to", "use an absolute path"),
    ({"logLevel": "info"}, "logLevel", "is 'info', which is read as 'verbose'", "use panic"),
    ({"logLevel": "loud"}, "logLevel", "is 'loud', which is read as 'error'", "use panic"),
    ({"logOptions": {"maxAge": -1}}, "logOptions.maxAge", "is -1, which is read as 0", "0 or more"),
    ({"clusterNetwork": "x"}, "delegates", "beside 'clusterNetwork': it is ignored", "keep one"),
    ({"defaultNetworks": ["x"]}, "defaultNetworks", "beside 'delegates': it is", "keep one way"),
    ({"kubeConfig": "/k"}, "kubeConfig", "is read as 'kubeconfig'", "write 'kubeconfig'"),
    ({"LogOptions": {"MaxAge": 1}}, "LogOptions.MaxAge", "is read as 'maxAge'", "write 'maxAge'"),
]


@pytest.mark.parametrize(
    ("keys", "subject", "reason", "fix"), REMARKS, ids=[str(each[0]) for each in REMARKS]
)
def test_what_is_taken_in_another_form_is_a_warning(
    multus: Command, file: File, keys: dict[str, Any], subject: str, reason: str, fix: str
) -> None:
    path = file("multus.conf", conf(**keys))
    said = multus("validate", "--json", "--off-node", "-f", path)
    assert said.status == 0
    found = {each["subject"]: each for each in problems(said, "warning")}
    assert reason in found[subject]["reason"]
    assert fix in found[subject]["fix"]
    assert found[subject]["line"] > 1


@pytest.mark.parametrize("by", ["path", "name"])
@pytest.mark.parametrize("key", ["clusterNetwork", "defaultNetworks"])
def test_a_network_that_is_multus_itself_is_an_error(
    multus: Command, file: File, by: str, key: str
) -> None:
    path = str(file("00-multus.conf", conf(name="own")))
    named = path if by == "path" else "own"
    folder = os.path.dirname(path)
    keys: dict[str, Any] = {"delegates": None, "confDir": folder, "clusterNetwork": "not-here"}
    keys[key] = named if key == "clusterNetwork" else [named]
    said = multus("validate", "--json", "-f", file("00-multus.conf", conf(name="own", **keys)))
    (found,) = problems(said)
    assert found["subject"] == (key if key == "clusterNetwork" else f"{key}[0]")
    assert found["code"] == 7
    assert "Multus would call itself" in found["reason"]
    assert path in found["reason"]


def test_a_key_that_nobody_reads_is_a_warning_with_a_guess(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("multus.conf", conf(kubeconfg="/x")))
    assert said.status == 0
    (warning,) = problems(said, "warning")
    assert (warning["subject"], warning["fix"]) == ("kubeconfg", "did you mean 'kubeconfig'?")


@pytest.mark.parametrize("code", [0x7F, 0x85, 0x2028, 0xFEFF, 0xFFFE])
def test_a_character_that_only_yaml_refuses_moves_no_position(
    multus: Command, file: File, code: int
) -> None:
    text = f'{{"name": "n", "type": "multus", "kubeconfig": "/k", "args": {{"x": "{chr(code)}"}},\n'
    said = multus("validate", "--json", "-f", file("multus.conf", text + '  "logLevel": 5}'))
    (problem,) = problems(said)
    assert (problem["subject"], problem["line"], problem["column"]) == ("logLevel", 2, 3)


def test_a_key_that_stands_twice_is_found(multus: Command, file: File) -> None:
    text = '{\n "name": "n",\n "type": "multus",\n "delegates": [{"type": "a",\n "type": "b"}]\n}'
    said = multus("validate", "--json", "-f", file("multus.conf", text))
    (problem,) = problems(said)
    assert (problem["subject"], problem["line"], problem["column"]) == ("delegates[0].type", 5, 2)


def test_always_use_default_says_what_users_know(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("m.conf", conf(always_use_default=True)))
    (problem,) = problems(said)
    assert problem["reason"].startswith("If you have set always_use_default")
    assert "kubeconfig" in problem["fix"]


def test_a_list_in_a_conf_file_is_refused_as_a_runtime_would(multus: Command, file: File) -> None:
    said = multus(
        "validate", "--json", "-f", file("10.conf", {"name": "n", "plugins": [{"type": "a"}]})
    )
    (problem,) = problems(said)
    assert problem["fix"] == "name the file .conflist"


def test_multus_in_a_list_is_checked_where_it_stands(multus: Command, file: File) -> None:
    whole = {"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "multus", "cniDir": "x"}]}
    said = multus("validate", "--json", "-f", file("00.conflist", whole))
    assert "plugins[0].cniDir" in [each["subject"] for each in problems(said)]


# --- Objects --------------------------------------------------------------------------------------


def test_the_first_documentations_objects_are_right(multus: Command, file: File) -> None:
    said = multus(
        "validate",
        "--json",
        "--off-node",
        "-f",
        file("networks.yaml", seed.NETWORKS),
        "-f",
        file("pod.yaml", seed.POD),
        "-f",
        file("node.conf", seed.KUBECONFIG_CONF),
    )
    assert said.json["findings"] == []
    assert said.json["checked"] == 5
    assert said.status == 0


def test_old_kinds_are_told_from_where_they_no_longer_work(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("k.yaml", f"{seed.CRD}---\n{seed.TPR}"))
    assert said.status == 0
    found = [(each["severity"], each["line"], each["subject"]) for each in said.json["findings"]]
    assert found == [("warning", 1, "apiVersion"), ("note", 18, "kind")]


def test_lost_indentation_is_recognised(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("n.yaml", seed.FLAT_NETWORK))
    (problem,) = problems(said)
    assert (problem["line"], problem["subject"]) == (3, "metadata")
    assert "indentation was lost" in problem["reason"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("'[]'", "a list of 0"),
        ("'[{}, {}]'", "a list of 2"),
        ("'{}'", "an object"),
        ("'[1]'", "a list of a whole number"),
        ("'[{\"a\": 1,}]'", "not JSON"),
        ("5", "must be a string"),
    ],
)
def test_args_that_is_no_list_of_one_object_is_told_at_its_line(
    multus: Command, file: File, args: str, words: str
) -> None:
    text = "apiVersion: kubernetes-network.cni.cncf.io/v1\nkind: Network\n"
    text += f"metadata:\n  name: x\nplugin: flannel\nargs: {args}\n"
    said = multus("validate", "--json", "-f", file("n.yaml", text))
    (problem,) = problems(said)
    assert (problem["line"], problem["subject"], problem["code"]) == (6, "args", 7)
    assert words in problem["reason"]


def test_a_network_of_an_unknown_group_is_told_the_right_one(multus: Command, file: File) -> None:
    text = "apiVersion: example.com/v1\nkind: Network\nmetadata: {name: x}\nplugin: a\n"
    (problem,) = problems(multus("validate", "--json", "-f", file("n.yaml", text)))
    assert problem["subject"] == "apiVersion"
    assert problem["fix"] == "write kubernetes-network.cni.cncf.io/v1"


NAD = """\
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: lan
spec:
  config: '{}'
"""


def test_a_definitions_configuration_is_read_as_an_attachment_reads_it(
    multus: Command, file: File
) -> None:
    good = NAD.format('{"cniVersion": "1.0.0", "type": "ptp"}')
    assert multus("validate", "-f", file("good.yaml", good)).status == 0
    bad = NAD.format('{"cniVersion": "1.0.0", "type": ["ptp"]}')
    said = multus("validate", "--json", "-f", file("bad.yaml", bad))
    (problem,) = problems(said)
    assert (problem["line"], problem["subject"], problem["code"]) == (6, "spec.config", 7)


@pytest.mark.parametrize(
    "config", ['{"type": "multus-shim"}', '{"type": "ptp", "ipam": {"type": "multus"}}']
)
def test_a_definition_that_would_start_multus_is_told(
    multus: Command, file: File, config: str
) -> None:
    said = multus("validate", "--json", "-f", file("bad.yaml", NAD.format(config)))
    (problem,) = problems(said)
    assert (problem["subject"], problem["code"]) == ("spec.config", 7)
    assert "may not start Multus itself" in problem["reason"]


def test_a_configuration_that_names_multus_as_a_network_is_told(
    multus: Command, file: File
) -> None:
    text = '{"name": "n", "type": "multus", "delegates": [{"type": "multus"}]}'
    said = multus("validate", "--json", "-f", file("bad.conf", text))
    assert any("would call itself" in each["reason"] for each in problems(said))


def test_a_workloads_template_is_checked_like_a_pod(multus: Command, file: File) -> None:
    text = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      annotations:
        k8s.v1.cni.cncf.io/networks: lan@an-interface-too-long
"""
    said = multus("validate", "--json", "-f", file("d.yaml", text))
    (problem,) = problems(said)
    assert problem["line"] == 8
    assert "longer than 15 characters" in problem["reason"]


def test_a_network_outside_the_files_is_not_checked(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("pod.yaml", seed.POD))
    assert (said.status, said.json["notChecked"]) == (3, 3)
    first, *_ = problems(said, "unchecked")
    assert "not in the given files" in first["reason"]
    assert first["fix"] == "pass the file that defines it (-f)"


def test_two_interfaces_of_one_name_are_found_in_the_pod(multus: Command, file: File) -> None:
    pod = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    k8s.v1.cni.cncf.io/networks: lan,lan,lan@net1
"""
    nad = NAD.format('{"cniVersion": "1.0.0", "type": "ptp"}')
    said = multus("validate", "--json", "-f", file("a.yaml", f"{nad}---\n{pod}"))
    (problem,) = problems(said)
    assert "both get interface 'net1'" in problem["reason"]
    assert problem["line"] == 13


def test_a_request_that_the_standard_lets_fail_is_a_warning(multus: Command, file: File) -> None:
    pod = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    v1.multus-cni.io/default-network: default/lan
    k8s.v1.cni.cncf.io/networks: '[{"name": "lan"}, {"name": "lan", "mac": "02:00:00:00:00:07"}]'
"""
    nad = NAD.format('{"cniVersion": "1.0.0", "type": "ptp"}')
    said = multus("validate", "--json", "-f", file("a.yaml", f"{nad}---\n{pod}"))
    assert problems(said) == []
    (warning,) = problems(said, "warning")
    assert warning["line"] == 14
    assert (
        "network 'default/lan': 'mac' is requested, and none of its plugins (ptp) declares"
        in (warning["reason"])
    )
    assert '"capabilities": {"mac": true}' in warning["fix"]


def test_a_list_of_objects_is_taken_apart(multus: Command, file: File) -> None:
    items = {
        "kind": "List",
        "apiVersion": "v1",
        "items": [
            {
                "apiVersion": "k8s.cni.cncf.io/v1",
                "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": "x"},
                "spec": {"config": "{"},
            }
        ],
    }
    said = multus("validate", "--json", "-f", file("list.json", items))
    (problem,) = problems(said)
    assert (problem["subject"], problem["line"]) == ("spec.config", 12)


def test_a_readiness_file_that_is_missing_is_told_at_once(
    multus: Command, file: File, tmp_path: Path
) -> None:
    path = file(
        "m.conf",
        {
            "name": "n",
            "type": "multus",
            "cniVersion": "1.0.0",
            "kubeconfig": "/k",
            "delegates": [{"type": "bridge"}],
            "readinessindicatorfile": str(tmp_path / "ready"),
        },
    )
    objects = file("a.yaml", f"{NAD.format('{}')}---\n{seed.POD}")
    began = time.monotonic()
    said = multus("validate", "--json", "-f", path, "-f", objects)
    assert time.monotonic() - began < PATIENCE
    notes = [each for each in said.json["findings"] if each["severity"] == "note"]
    (note,) = [each for each in notes if each["subject"] == "readinessindicatorfile"]
    assert (note["line"], note["code"]) == (11, 50)
    assert "is missing" in note["reason"]


def test_a_string_that_begins_with_an_escaped_character_is_no_windows_path(
    multus: Command, file: File
) -> None:
    pod = r'{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "x": "\u003cnone>"}}'
    assert problems(multus("validate", "--json", "-f", file("p.json", pod))) == []


def test_a_pipe_in_a_folder_is_not_waited_for(multus: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text(NAD.format('{"cniVersion": "1.0.0", "type": "ptp"}'))
    said = multus("validate", "--json", "-f", tmp_path)
    assert (said.status, said.json["checked"]) == (0, 1)


# --- Files ----------------------------------------------------------------------------------------


def test_a_tab_in_yaml_is_told_with_its_place(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("a.yaml", "kind: Pod\nmetadata:\n\tname: x\n"))
    (problem,) = problems(said)
    assert (problem["line"], problem["subject"]) == (3, "YAML")
    assert "spaces" in problem["fix"]


def test_dates_and_aliases_in_yaml_do_not_disturb(multus: Command, file: File) -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)},*{chr(97 + i)},*{chr(97 + i)}]\n"
        for i in range(20)
    )
    pod = seed.POD.replace("metadata:\n", "metadata:\n  creationTimestamp: 2017-07-11T21:46:52Z\n")
    said = multus("validate", "--json", "-f", file("a.yaml", f"{pod}---\n{bomb}"))
    assert (said.status, said.json["problems"]) == (3, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"\xff\xfe{}", "UTF-8"), (b"[" * 200 + b"]" * 200, "deeper")],
)
def test_a_file_that_is_no_json_is_one_clear_problem(
    multus: Command, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(content)
    said = multus("validate", "--json", "-f", path)
    (problem,) = problems(said)
    assert words in problem["reason"]
    assert said.status == 1


def test_a_missing_file_is_a_problem_not_a_traceback(multus: Command, tmp_path: Path) -> None:
    said = multus("validate", "-f", tmp_path / "none.yaml")
    assert said.status == 1
    assert "No such file" in said.out


def test_a_folder_stands_for_its_files(multus: Command, file: File, tmp_path: Path) -> None:
    file("conf/10-a.conf", conf())
    file("conf/20-b.yaml", seed.NETWORKS)
    file("conf/notes.txt", "{")
    said = multus("validate", "--json", "-f", tmp_path / "conf")
    assert said.json["checked"] == 4
    assert said.status == 0


def test_without_files_the_nodes_are_checked(multus: Command, file: File, tmp_path: Path) -> None:
    file(
        "net.d/00-multus.conf",
        conf(confDir=str(tmp_path / "delegates"), delegates=[{"type": "bridge"}]),
    )
    file("delegates/10-lan.conf", {"name": "lan", "type": 5})
    said = multus("validate", "--json", "--net-d", tmp_path / "net.d")
    (problem,) = problems(said)
    assert problem["file"].endswith("10-lan.conf")
    (served,) = problems(said, "note")
    assert served["reason"] == "its plugins on this node: bridge (in-process)"


def test_a_wrong_call_is_status_2(multus: Command) -> None:
    assert multus("validate", "--no-such-option").status == 2


def test_the_text_for_people_has_place_reason_and_fix(multus: Command, file: File) -> None:
    path = file("multus.conf", conf(cniDir="opt"))
    said = multus("validate", "-f", path)
    assert f"✗ {path}:10:3: cniDir: " in said.out
    assert "    use an absolute path" in said.out
    assert "\x1b" not in said.out


def test_what_differs_from_the_go_multus_is_listed_for_its_files(
    multus: Command, file: File, tmp_path: Path
) -> None:
    shim = {
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "type": "multus-shim",
        "clusterNetwork": "/host/etc/cni/net.d/10-flannel.conflist",
        "retryDeleteOnError": True,
        "logToStderr": True,
    }
    daemon = {"cniVersion": "0.3.1", "logLevel": "verbose", "MetricsPort": 9091, "typo": 1}
    daemon |= {"enablePprof": False, "multusConfigFile": "auto"}
    file("net.d/00-multus.conf", shim)
    file("net.d/multus.d/daemon-config.json", daemon)
    call = ("validate", "--off-node", "--net-d", tmp_path / "net.d")
    said = multus(*call, "--json")
    found = [(each["subject"], each["line"]) for each in said.json["differences"]]
    assert found == [("retryDeleteOnError", 6), ("MetricsPort", 4), ("multusConfigFile", 7)]
    assert next(each["subject"] for each in problems(said, "warning")) == "typo"
    assert said.status == 0
    text = multus(*call).out
    assert "Different from the Go Multus: 3 of these settings" in text
    listed = text[text.index("Different from") :].splitlines()
    assert [line for line in listed if len(line) > 80 and line.startswith("    ")] == []


def test_values_with_which_the_daemon_would_not_start_are_errors(
    multus: Command, file: File
) -> None:
    daemon: dict[str, Any] = {"ConnectionLimit": 0, "metricsPort": -1, "logLevel": 5}
    certificate = {"enabled": True, "bootstrapKubeconfig": "/b", "certDir": "/c"}
    daemon["perNodeCertificate"] = {**certificate, "certDuration": "5m"}
    said = multus("validate", "--json", "-f", file("daemon-config.json", daemon))
    assert [(each["subject"], each["line"]) for each in problems(said)] == [
        ("ConnectionLimit", 2),
        ("metricsPort", 3),
        ("logLevel", 4),
        ("perNodeCertificate.certDuration", 9),
    ]
    assert all(each["fix"] for each in problems(said))
    assert said.status == 1
    del daemon["ConnectionLimit"], daemon["metricsPort"], daemon["logLevel"]
    daemon["perNodeCertificate"] = {"enabled": False}
    assert multus("validate", "-f", file("daemon-config.json", daemon)).status == 0


def test_a_configuration_that_means_the_same_lists_no_difference(
    multus: Command, file: File
) -> None:
    keys = {"kubeconfig": "/k", "logLevel": "debug", "capabilities": {"portMappings": True}}
    said = multus("validate", "--json", "-f", file("00-multus.conf", conf(**keys)))
    assert (said.json["differences"], problems(said, "warning")) == ([], [])


def test_the_daemons_settings_in_a_config_map_are_compared_at_their_lines(
    multus: Command, file: File
) -> None:
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: multus-daemon-config}
data:
  notes: "{ not JSON"
  daemon-config.json: |
    {
      "logLevel": "verbose",
      "metricsPort": 9091
    }
"""
    said = multus("validate", "--json", "-f", file("daemon.yaml", text))
    (found,) = said.json["differences"]
    assert (found["subject"], found["line"], found["column"]) == ("metricsPort", 9, 7)
    assert (said.status, said.json["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1: a\nsocketDir: /x\n", 0),
        ("null: a\nmetricsPort: {2: [3]}\n", 1),
        ("kind: ConfigMap\ndata: {1: '{', a: '{\"socketDir\": {}}'}\n", 1),
        ("kind: ConfigMap\ndata: [a]\n", 1),
        ("1: {2: 3}\n", 1),
    ],
)
def test_keys_that_are_no_text_do_no_harm(
    multus: Command, file: File, text: str, wrong: int
) -> None:
    said = multus("validate", "--json", "-f", file("odd.yaml", text))
    assert (said.status, said.json["problems"]) == (wrong, wrong)


# --- Which files, and where -----------------------------------------------------------------------


def test_a_folder_is_read_with_all_below_it_and_what_is_skipped_is_said(
    multus: Command, file: File, tmp_path: Path
) -> None:
    file("all/a/b/multus.conf", conf(naming="other"))
    file("all/README.md", "x")
    file("all/.git/config.json", "{")
    os.mkfifo(tmp_path / "all" / "pipe.yaml")
    said = multus("validate", "--json", tmp_path / "all", "-f", tmp_path / "all" / "a")
    assert said.status == 1
    assert said.json["files"] == [str(tmp_path / "all" / "a" / "b" / "multus.conf")]
    skipped = " ".join(each["reason"] for each in said.json["findings"])
    assert "by its name: README.md" in skipped
    assert "a hidden folder: .git" in skipped
    assert "not a regular file: pipe.yaml" in skipped
    assert [each["subject"] for each in problems(said)] == ["naming"]


@pytest.mark.parametrize("content", [None, "kind: Service\napiVersion: v1\n"])
def test_nothing_to_check_is_an_error(
    multus: Command, file: File, tmp_path: Path, content: str | None
) -> None:
    (tmp_path / "all").mkdir()
    if content:
        file("all/service.yaml", content)
    said = multus("validate", "--json", tmp_path / "all")
    assert (said.status, said.json["checked"]) == (1, 0)
    assert "nothing to check" in problems(said)[-1]["reason"]


DEFINITION = """\
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan}
spec:
  config: '{"cniVersion": "1.0.0", "type": "macvlan", "master": "no-such-link",
    "ipam": {"type": "nobody-has-this"}}'
"""


def test_what_a_definition_needs_is_looked_for_on_a_node(
    multus: Command, file: File, tmp_path: Path
) -> None:
    definition = file("lan.yaml", DEFINITION)
    file("net.d/00-multus.conf", conf())
    call = ("validate", "--json", "--net-d", tmp_path / "net.d", definition)
    here = multus(*call)
    assert here.status == 1
    said = {each["reason"]: each["line"] for each in problems(here)}
    assert "'master' is 'no-such-link', and the host has no interface of that name" in said
    assert any("'nobody-has-this' is not found" in reason for reason in said)
    assert set(said.values()) == {5}
    away = multus(*call, "--off-node")
    (unchecked,) = problems(away, "unchecked")
    assert (away.status, problems(away)) == (0, [])
    assert "master 'no-such-link' of network 'default/lan'" in unchecked["reason"]
    assert multus("validate", definition, "--net-d", tmp_path / "none").status == 3


def test_a_default_network_that_install_would_refuse_is_an_error_on_a_node(
    multus: Command, file: File, tmp_path: Path
) -> None:
    path = str(tmp_path / "gone.conflist")
    given = file("net.d/00-multus.conf", conf(delegates=[], clusterNetwork=path))
    net_d = tmp_path / "net.d"
    with_it = ("--net-d", net_d, "--bin-dir", tmp_path / "bin", "--conf", given)
    assert multus("install", "--dry-run", *with_it).status == 1
    said = multus("validate", "--json", "--net-d", net_d, given)
    (problem,) = problems(said)
    assert (said.status, problem["subject"]) == (1, "clusterNetwork")
    assert path in problem["reason"]
    assert multus("validate", "--off-node", given).status == 0


def test_a_missing_definition_is_named_as_explain_names_it(multus: Command, file: File) -> None:
    given = (file("pod.yaml", seed.POD), file("multus.conf", conf(kubeconfig="/k")))
    validated = multus("validate", "--json", *given)
    explained = multus("explain", "--json", *given)
    said = [each["reason"] for each in problems(validated, "unchecked")]
    assert (validated.status, explained.status) == (3, 3)
    assert explained.json["missing"] == [each for each in said if "is not in the given" in each]


def test_it_says_whose_default_route_is_used(multus: Command, file: File) -> None:
    ipam = {"type": "static", "routes": [{"dst": "0.0.0.0/0"}]}
    two = [{"type": "ptp", "name": name, "ipam": ipam} for name in "ab"]
    said = multus("validate", "--json", file("multus.conf", conf(delegates=two)))
    (note,) = problems(said, "note")
    assert note["subject"] == "delegates"
    assert "the default route is that of eth0, not that of net0" in note["reason"]
    assert "eth0 is a" in note["reason"]


def test_what_install_would_refuse_of_a_nodes_files_is_said(
    multus: Command, file: File, tmp_path: Path
) -> None:
    file("net.d/00-lan.conf", {"cniVersion": "1.0.0", "name": "lan", "type": "ptp"})
    net_d = ("--net-d", tmp_path / "net.d")
    refused = multus("install", "--dry-run", "--bin-dir", tmp_path / "bin", *net_d)
    said = multus("validate", "--json", *net_d)
    (warning,) = problems(said, "warning")
    assert refused.status == 1 and warning["reason"] in " ".join(refused.err.split())
    assert warning["subject"] == "multus install would refuse this"
