from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE, eventually

from integration.cli.conftest import MadeUpNode, of
from multus.testing.apiserver import ApiServer
from multus.testing.netns import Netns
from multus.testing.runtime import Container, Runtime

PRIMARY = {
    "cniVersion": "1.0.0",
    "name": "cluster-lan",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "br-lan",
            "isGateway": True,
            "capabilities": {"bandwidth": True, "portMappings": True, "ips": False},
            "ipam": {"type": "host-local", "subnet": "10.78.0.0/24"},
        }
    ],
}


@pytest.fixture
def install(made_up: MadeUpNode) -> Callable[..., subprocess.CompletedProcess[str]]:
    primary = json.loads(json.dumps(PRIMARY))
    primary["plugins"][0]["ipam"]["dataDir"] = str(made_up.folder / "networks")
    made_up.write("net.d/10-lan.conflist", primary)

    def run(*arguments: str, **keys: Any) -> subprocess.CompletedProcess[str]:
        return made_up.run("install", *places(made_up), *arguments, **keys)

    return run


def places(made_up: MadeUpNode) -> list[str]:
    return ["--net-d", str(made_up.folder / "net.d"), "--bin-dir", made_up.bin.path]


def uninstall(made_up: MadeUpNode, *arguments: str) -> str:
    done = made_up.run(
        "uninstall",
        *("--net-d", made_up.folder / "net.d"),
        *("--cni-dir", made_up.folder / "state"),
        *arguments,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


Install = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_nodes_network_becomes_the_default(made_up: MadeUpNode, install: Install) -> None:
    done = install()
    assert done.returncode == 0, done.stderr
    path = made_up.folder / "net.d" / "00-multus.conflist"
    conf = json.loads(path.read_text())
    assert (conf["cniVersion"], conf["name"]) == ("1.0.0", "multus-cni-network")
    assert conf["plugins"] == [
        {
            "type": "multus",
            "clusterNetwork": str(made_up.folder / "net.d" / "10-lan.conflist"),
            "binDir": made_up.bin.path,
            "capabilities": {"bandwidth": True, "portMappings": True},
        }
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.access(os.path.join(made_up.bin.path, "multus"), os.X_OK)


@pytest.mark.parametrize("cni_dir", ["state", "another"])
def test_what_is_installed_attaches_a_pod(
    made_up: MadeUpNode, install: Install, cni_pod: Netns, cni_dir: str
) -> None:
    assert install().returncode == 0
    whole = json.loads((made_up.folder / "net.d" / "00-multus.conflist").read_text())
    conf = {
        **whole["plugins"][0],
        "name": whole["name"],
        "cniVersion": whole["cniVersion"],
        "cniDir": str(made_up.folder / cni_dir),
        "warmSeconds": 0,
    }
    # A daemon with the one folder had a call with the other.
    made_up.write("state/.folders", f"{made_up.folder / 'another'}\n")
    installed = Runtime((os.path.join(made_up.bin.path, "multus"),), made_up.bin.path, made_up.host)
    container = Container(cni_pod.path)
    result = installed.add(conf, container).result
    assert result["ips"][0]["address"].startswith("10.78.0.")
    assert cni_pod.addresses("eth0") == [result["ips"][0]["address"]]

    said = uninstall(made_up)
    assert "1 container(s) are still attached" in said
    assert not (made_up.folder / "net.d" / "00-multus.conflist").exists()
    installed.delete(conf, container).require()
    assert "removed" in uninstall(made_up)
    assert not os.path.exists(os.path.join(made_up.bin.path, "multus"))


def test_doctor_finds_nothing_wrong_afterwards(made_up: MadeUpNode, install: Install) -> None:
    assert install().returncode == 0
    status, findings = made_up.doctor()
    assert [each for each in findings if each["severity"] == "error"] == []
    assert status == 0
    assert of(findings, "configuration order") == []


def test_a_file_that_is_missing_is_named(made_up: MadeUpNode, install: Install) -> None:
    program = str(made_up.write("own", "#!/bin/sh\n"))
    more = made_up.write("net.d/multus.d/token", "secret")
    assert install("--program", program).returncode == 0
    manifest = made_up.folder / "net.d" / "multus.d" / "installed.json"
    whole = json.loads(manifest.read_text())
    whole["written"].append({**whole["written"][0], "path": str(more)})
    manifest.write_text(json.dumps(whole))
    assert of(made_up.doctor()[1], "installed files") == []
    more.unlink()
    (finding,) = of(made_up.doctor()[1], "installed files")
    assert (finding["severity"], finding["file"]) == ("error", str(more))
    shown = made_up.run("status", "--json", *places(made_up))
    (shorter,) = of(json.loads(shown.stdout)["findings"], "installed files")
    assert shorter["reason"] == finding["reason"]


def test_installing_again_changes_nothing(made_up: MadeUpNode, install: Install) -> None:
    install()
    before = {path: path.stat().st_mtime_ns for path in made_up.folder.rglob("*") if path.is_file()}
    done = install()
    assert done.returncode == 0
    assert "wrote" not in done.stderr
    assert before == {
        path: path.stat().st_mtime_ns for path in made_up.folder.rglob("*") if path.is_file()
    }


def test_uninstall_takes_what_a_daemon_left_away(made_up: MadeUpNode, install: Install) -> None:
    assert install().returncode == 0
    left = [made_up.write(f"state/{name}", "") for name in (".daemon", ".folders")]
    said = uninstall(made_up)
    for path in left:
        assert str(path) in said
        assert not path.exists()


def test_the_mark_of_an_older_daemon_is_removed(made_up: MadeUpNode, install: Install) -> None:
    mark = made_up.write("state/.daemon", "")
    keys = made_up.write("keys.json", {"cniDir": str(mark.parent)})
    done = install("--settings", str(keys))
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_uninstall_restores_every_file_to_the_byte(made_up: MadeUpNode, install: Install) -> None:
    made_up.write("net.d/00-multus.conf", '{"name": "old", "type": "multus"}\n', 0o640)
    made_up.bin.file("multus", b"#!/bin/sh\n# the one before\n", 0o750)
    before, programs = tree(made_up.folder / "net.d"), tree(Path(made_up.bin.path))
    done = install()
    assert done.returncode == 0, done.stderr
    assert not (made_up.folder / "net.d" / "00-multus.conf").exists()
    assert tree(Path(made_up.bin.path)) != programs
    uninstall(made_up)
    assert tree(made_up.folder / "net.d") == before
    assert tree(Path(made_up.bin.path)) == programs
    assert not (made_up.folder / "net.d" / "multus.d").exists()
    assert "nothing is installed" in uninstall(made_up)


def test_a_running_program_is_replaced(made_up: MadeUpNode, install: Install) -> None:
    target = os.path.join(made_up.bin.path, "multus")
    made_up.bin.file("multus", Path("/bin/sleep").resolve().read_bytes())
    running = subprocess.Popen([target, "30"])
    try:
        with pytest.raises(OSError, match="Text file busy"):
            open(target, "r+b").close()
        assert install().returncode == 0
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def test_nothing_is_written_that_is_wrong(made_up: MadeUpNode, install: Install) -> None:
    made_up.write("net.d/10-lan.conflist", {"name": "lan", "plugins": [{"type": 5}]})
    before = tree(made_up.folder / "net.d")
    done = install()
    assert done.returncode == 1
    assert "must be a string" in done.stderr
    assert tree(made_up.folder / "net.d") == before
    assert not os.path.exists(os.path.join(made_up.bin.path, "multus"))


def test_an_own_configuration_is_checked_and_installed_as_it_is(
    made_up: MadeUpNode, install: Install
) -> None:
    text = '{ "cniVersion": "1.0.0", "name": "mine",\n "plugins": [{"type": "multus",\n'
    text += '  "delegates": [{"type": "bridge"}]}]}\n'
    mine = made_up.write("mine.conflist", text)
    assert install("--conf", str(mine)).returncode == 0
    assert (made_up.folder / "net.d" / "00-multus.conflist").read_text() == text
    bad = made_up.write("bad.conflist", text.replace("bridge", "a/b"))
    done = install("--conf", str(bad))
    assert done.returncode == 1
    assert (made_up.folder / "net.d" / "00-multus.conflist").read_text() == text


def test_a_change_by_hand_is_not_lost_unasked(made_up: MadeUpNode, install: Install) -> None:
    install()
    path = made_up.folder / "net.d" / "00-multus.conflist"
    changed = path.read_text().replace('"multus-cni-network"', '"other"')
    path.write_text(changed)
    done = install()
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert path.read_text() == changed
    assert install("--force").returncode == 0
    assert path.read_text() != changed


def own_with(*networks: Any) -> dict[str, Any]:
    """A configuration of the user's own."""
    plugin = {"type": "multus", "delegates": networks}
    return {"cniVersion": "1.0.0", "name": "mine", "plugins": [plugin]}


@pytest.fixture
def mine(made_up: MadeUpNode, install: Install) -> str:
    """The text of a configuration of the user's own, which is installed."""
    path = made_up.write("mine.conflist", own_with({"name": "a", "type": "bridge"}))
    assert install("--conf", str(path)).returncode == 0
    return path.read_text()


def test_an_own_configuration_stays_when_it_is_installed_again(
    made_up: MadeUpNode, install: Install, mine: str
) -> None:
    path = made_up.folder / "net.d" / "00-multus.conflist"
    for gone in (Path(made_up.bin.path, "multus"), path):
        gone.unlink()
        done = install()
        assert done.returncode == 0, done.stderr
        assert gone.exists()
        assert path.read_text() == mine


def test_an_own_configuration_that_was_damaged_is_restored(
    made_up: MadeUpNode, install: Install, mine: str
) -> None:
    path = made_up.folder / "net.d" / "00-multus.conflist"
    path.write_text(mine[:40])
    assert install().returncode == 1
    done = install("--force")
    assert done.returncode == 0, done.stderr
    assert path.read_text() == mine
    (copy,) = (made_up.folder / "net.d" / "multus.d" / "changed").iterdir()
    assert f"kept a copy of {path}: {copy}" in done.stderr
    assert copy.read_text() == mine[:40]


def test_options_that_would_replace_an_own_configuration_are_refused(
    made_up: MadeUpNode, install: Install, mine: str
) -> None:
    path = made_up.folder / "net.d" / "00-multus.conflist"
    options = ("--primary", str(made_up.folder / "net.d" / "10-lan.conflist"))
    done = install(*options)
    assert done.returncode == 1
    assert "--primary would replace it" in done.stderr
    assert path.read_text() == mine
    done = install(*options, "--force")
    assert done.returncode == 0, done.stderr
    (copy,) = (made_up.folder / "net.d" / "multus.d" / "changed").iterdir()
    assert copy.read_text() == mine != path.read_text()
    assert install().returncode == 0
    assert path.read_text() != mine  # it is not remembered any more


def test_uninstall_keeps_a_copy_of_what_was_changed(
    made_up: MadeUpNode, install: Install, mine: str
) -> None:
    path = made_up.folder / "net.d" / "00-multus.conflist"
    path.write_text(mine.replace("mine", "mended"))
    said = uninstall(made_up)
    (copy,) = (made_up.folder / "net.d" / "multus.d" / "changed").iterdir()
    assert str(copy) in said
    assert "mended" in copy.read_text()
    assert install().returncode == 0
    assert "mended" not in path.read_text()
    assert "mine" not in path.read_text()


@pytest.mark.parametrize("kind", ["own", "primary"])
def test_what_no_plugin_serves_is_refused(made_up: MadeUpNode, install: Install, kind: str) -> None:
    network = {"cniVersion": "1.0.0", "name": "lan", "type": "ptpp"}
    own = own_with(network)
    given = made_up.write("given.conf", own if kind == "own" else network)
    option = "--conf" if kind == "own" else "--primary"
    done = install(option, str(given))
    assert done.returncode == 1
    assert "'ptpp'" in done.stderr and "--force" in done.stderr
    assert not (made_up.folder / "net.d" / "00-multus.conflist").exists()
    done = install(option, str(given), "--force")
    assert done.returncode == 0
    assert "warning: network 'lan'" in done.stderr


def test_an_interface_that_may_appear_later_is_a_warning(
    made_up: MadeUpNode, install: Install
) -> None:
    network = {"name": "lan", "type": "macvlan", "master": "eth7"}
    own = own_with(network)
    given = made_up.write("given.conf", own)
    for more in (("--dry-run",), ()):
        done = install("--conf", str(given), *more)
        assert done.returncode == 0, done.stderr
        assert "warning: network 'lan'" in done.stderr
        assert "'eth7'" in done.stderr


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_kubeconfig_that_cannot_be_used_is_refused(
    made_up: MadeUpNode, install: Install, more: tuple[str, ...]
) -> None:
    before = tree(made_up.folder)
    for path, said in (
        ("/nosuch", "No such file"),
        (made_up.write("empty", "{}"), "'current-context'"),
    ):
        done = install("--kubeconfig", str(path), *more)
        assert done.returncode == 1
        assert said in done.stderr and str(path) in done.stderr
    (made_up.folder / "empty").unlink()
    assert tree(made_up.folder) == before


def test_a_kubeconfig_that_was_named_stays(made_up: MadeUpNode, install: Install) -> None:
    named, other = (str(made_up.kubeconfig(each)) for each in ("kubeconfig", "another"))
    path = made_up.folder / "net.d" / "00-multus.conflist"
    install("--kubeconfig", named)
    before = path.read_text()
    assert named in before
    settings = made_up.write("keys.json", {"logLevel": "verbose"})
    for more in ((), ("--settings", str(settings)), ("--kubeconfig", other)):
        assert install(*more).returncode == 0
        (plugin,) = json.loads(path.read_text())["plugins"]
        assert plugin["kubeconfig"] == (other if "--kubeconfig" in more else named)


def test_an_installed_file_that_is_damaged_is_written_anew(
    made_up: MadeUpNode, install: Install
) -> None:
    install()
    path = made_up.folder / "net.d" / "00-multus.conflist"
    before = path.read_text()
    path.write_text(before[:40])
    done = install()
    assert done.returncode == 1 and "--force" in done.stderr
    assert install("--force").returncode == 0
    assert path.read_text() == before


def test_a_file_that_would_come_before_is_refused(made_up: MadeUpNode, install: Install) -> None:
    made_up.write("net.d/00-first.conflist", PRIMARY)
    lan = str(made_up.folder / "net.d" / "10-lan.conflist")
    network = {"name": "a", "type": "bridge"}
    own = own_with(network)
    given = made_up.write("mine.conf", own)
    for options in ((), ("--primary", lan), ("--conf", str(given))):
        done = install(*options)
        assert done.returncode == 1
        assert "rename it" in done.stderr
        assert not (made_up.folder / "net.d" / "00-multus.conflist").exists()


def test_without_a_network_it_waits_and_then_says_so(made_up: MadeUpNode, install: Install) -> None:
    (made_up.folder / "net.d" / "10-lan.conflist").unlink()
    done = install("--wait", "1.5")
    assert done.returncode == 1
    assert "--wait" in done.stderr


def test_it_waits_for_a_network_whose_file_is_still_being_written(
    made_up: MadeUpNode, install: Install
) -> None:
    path = made_up.folder / "net.d" / "10-lan.conflist"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    argv = [*made_up.program, "install", *places(made_up), "--wait", "60"]
    waiting = subprocess.Popen(made_up.host.command(argv), env=dict(os.environ))
    try:
        time.sleep(1.5)
        assert waiting.poll() is None
        path.write_text(whole)
        assert waiting.wait(PATIENCE) == 0
    finally:
        if waiting.poll() is None:
            waiting.kill()
            waiting.wait()
    assert (made_up.folder / "net.d" / "00-multus.conflist").exists()


def test_dry_run_shows_and_writes_nothing(made_up: MadeUpNode, install: Install) -> None:
    before = tree(made_up.folder)
    done = install("--dry-run")
    assert json.loads(done.stdout)["plugins"][0]["type"] == "multus"
    assert tree(made_up.folder) == before


def test_a_folder_of_programs_that_is_missing_is_to_be_created(
    made_up: MadeUpNode, install: Install
) -> None:
    missing = made_up.folder / "bin" / "no"
    before = tree(made_up.folder)
    done = install("--bin-dir", str(missing))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"create the folder {missing}, or name another one")
    assert tree(made_up.folder) == before
    assert not (made_up.folder / "net.d" / "multus.d").exists()


def test_a_first_installation_that_fails_late_is_undone(
    made_up: MadeUpNode, install: Install
) -> None:
    # The last file cannot be written: a folder has its name.
    (made_up.folder / "net.d" / "00-multus.conflist").mkdir()
    done = install("--program", str(made_up.write("own", "#!/bin/sh\n")))
    assert done.returncode == 1
    assert not os.path.exists(os.path.join(made_up.bin.path, "multus"))
    assert not (made_up.folder / "net.d" / "multus.d").exists()


def test_an_own_configuration_keeps_its_meaning(made_up: MadeUpNode, install: Install) -> None:
    (made_up.folder / "net.d" / "10-lan.conflist").unlink()
    networks = [{"type": "ptp", "name": "a"}, {"type": "ptp", "name": "b"}]
    conf = {"name": "own", "type": "multus", "cniVersion": "1.0.0", "delegates": networks}
    made_up.write("net.d/70-multus.conf", conf)
    for _ in range(2):  # the second finds the program that the first has installed
        assert install().returncode == 0
        whole = json.loads((made_up.folder / "net.d" / "00-multus.conflist").read_text())
        (plugin,) = whole["plugins"]
        assert plugin["delegates"] == networks
        assert "naming" not in plugin and "defaultRoute" not in plugin


def test_a_write_that_fails_leaves_no_half_configuration(
    made_up: MadeUpNode, install: Install
) -> None:
    folder = made_up.folder / "net.d"
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    try:
        for name, data in files.items():
            (folder / name).write_bytes(data)  # and the disk is full
        done = install()
        assert done.returncode == 1
        assert "cannot write" in done.stderr and "No space left" in done.stderr
        left = [str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()]
        assert left == list(files)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# --- In a pod -------------------------------------------------------------------------------------


@pytest.fixture
def account(made_up: MadeUpNode, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service account as the kubelet mounts it: the files are links that are swapped."""
    folder = made_up.folder / "serviceaccount"
    for version, token in (("..1", "expired"), ("..2", api.access.token)):
        (folder / version).mkdir(parents=True)
        (folder / version / "token").write_text(token)
        (folder / version / "ca.crt").write_bytes(api.ca_pem)
    (folder / "..data").symlink_to("..2")
    for name in ("token", "ca.crt"):
        (folder / name).symlink_to(f"..data/{name}")
    yield folder


def swap(account: Path, version: str) -> None:
    (account / "..new").symlink_to(version)
    os.rename(account / "..new", account / "..data")


def in_pod(api: ApiServer) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}


def test_the_pods_account_becomes_the_nodes_kubeconfig(
    made_up: MadeUpNode, install: Install, api: ApiServer, account: Path
) -> None:
    done = install("--service-account", str(account), environ=in_pod(api))
    assert done.returncode == 0, done.stderr
    folder = made_up.folder / "net.d" / "multus.d"
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "ca.crt": 0o600,
        "token": 0o600,
        "multus.kubeconfig": 0o600,
        "installed.json": 0o600,
    }
    _, findings = made_up.doctor(online=True)
    assert of(findings, "API server") == []
    assert of(findings, "API rights") == []
    assert api.access.token not in (folder / "multus.kubeconfig").read_text()
    assert api.access.token not in done.stderr


def test_watching_keeps_the_token_fresh_and_stays_installed_when_it_ends(
    made_up: MadeUpNode, install: Install, api: ApiServer, account: Path
) -> None:
    swap(account, "..1")
    token = made_up.folder / "net.d" / "multus.d" / "token"
    argv = [*made_up.program, "install", *places(made_up), "--watch"]
    argv += ["--service-account", str(account)]
    environ = {**os.environ, **in_pod(api)}
    watcher = subprocess.Popen(made_up.host.command(argv), env=environ)
    try:
        eventually(lambda: token.exists() and token.read_text() == "expired")
        swap(account, "..2")
        eventually(lambda: token.read_text() == api.access.token)
        # What somebody deletes comes back.
        os.unlink(os.path.join(made_up.bin.path, "multus"))
        eventually(lambda: os.path.exists(os.path.join(made_up.bin.path, "multus")))
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(PATIENCE) == 0
    finally:
        if watcher.poll() is None:
            watcher.kill()
            watcher.wait()
    assert (made_up.folder / "net.d" / "00-multus.conflist").exists()


def test_what_was_uninstalled_is_not_put_back_by_who_watches(
    made_up: MadeUpNode, install: Install
) -> None:
    conf = made_up.folder / "net.d" / "00-multus.conflist"
    argv = [*made_up.program, "install", *places(made_up), "--watch"]
    watcher = subprocess.Popen(
        made_up.host.command(argv), stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert watcher.stderr is not None
    try:
        eventually(conf.exists)
        uninstall(made_up)
        said = iter(watcher.stderr.readline, "")
        assert any("was uninstalled" in line for line in said)
        assert not conf.exists()
    finally:
        watcher.terminate()
        watcher.wait(PATIENCE)
        watcher.stderr.close()
