from __future__ import annotations

import json
import socket
from typing import Any

from integration.cli.conftest import MadeUpNode
from multus.testing.apiserver import ApiServer


def explain(made_up: MadeUpNode, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = made_up.run(
        "explain",
        "--json",
        "--conf",
        str(made_up.folder / "net.d" / "00-multus.conf"),
        "--cni-path",
        "/opt/cni/bin",
        *arguments,
        online=True,
    )
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


def definition(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"config": json.dumps(config)},
    }


def test_a_pod_of_the_cluster_is_explained_with_one_request_for_each_object(
    made_up: MadeUpNode, api: ApiServer
) -> None:
    made_up.healthy(kubeconfig=api.write_kubeconfig(made_up.folder))
    api.create(definition("blue", {"cniVersion": "1.0.0", "type": "bridge"}))
    api.create_pod("web", {"k8s.v1.cni.cncf.io/networks": "blue@data,blue"})
    status, said = explain(made_up, "--pod", "default/web")
    assert (status, said["refused"]) == (0, [])
    assert [(each["interface"], each["default"]) for each in said["networks"]] == [
        ("eth0", True),
        ("data", False),
        ("net2", False),
    ]
    reads = {path: count for (method, path), count in api.requests.items() if method == "GET"}
    assert sorted(reads.values()) == [1, 1]
    assert not [method for method, _ in api.requests if method != "GET"]


def test_a_pod_that_is_not_there_is_refused_with_the_servers_words(
    made_up: MadeUpNode, api: ApiServer
) -> None:
    made_up.healthy(kubeconfig=api.write_kubeconfig(made_up.folder))
    status, said = explain(made_up, "--pod", "default/nobody")
    assert status == 1
    (refused,) = said["refused"]
    assert refused["code"] == 11
    assert "HTTP 404" in refused["msg"]


def test_offline_and_online_explain_the_same(made_up: MadeUpNode, api: ApiServer) -> None:
    made_up.healthy(kubeconfig=api.write_kubeconfig(made_up.folder))
    objects = [
        definition("blue", {"cniVersion": "1.0.0", "type": "bridge", "ipam": {"type": "dhcp"}}),
        definition("red", {"cniVersion": "1.0.0", "plugins": [{"type": "ptp"}, {"type": "x"}]}),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "namespace": "default",
                "annotations": {"k8s.v1.cni.cncf.io/networks": "red,blue@data"},
            },
            "spec": {"containers": [{"name": "web", "image": "busybox"}]},
        },
    ]
    for each in objects:
        api.create(each)
    path = made_up.write("all.json", {"kind": "List", "apiVersion": "v1", "items": objects})
    online = explain(made_up, "--pod", "default/web")
    assert explain(made_up, "-f", str(path)) == online
    assert online[1]["routesKnownLater"] == {"data": "IPAM 'dhcp' chooses routes at run time"}


def test_it_says_that_it_waits_for_a_server_that_does_not_answer(
    made_up: MadeUpNode, api: ApiServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        path = api.write_kubeconfig(made_up.folder, server=server)
        made_up.healthy(kubeconfig=path)
        conf = made_up.folder / "net.d" / "00-multus.conf"
        pod = ("--pod", "default/web", "--timeout", "0.6")
        done = made_up.run("explain", "--conf", conf, *pod, online=True)
    assert done.returncode == 1
    assert f"waiting for the API server of {path}, at most 0.6 s (--timeout)" in done.stderr
