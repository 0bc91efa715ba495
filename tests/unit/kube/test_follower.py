"""A follower survives all input, stays within its memory budget, and reports when it is stale."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.kube.scripted import Scripted, event, nad, scripted
from waiting import PATIENCE, becomes, eventually

from multus.api.errors import CNIError
from multus.api.kubernetes import Resource
from multus.kube import follower as follower_module
from multus.kube.cache import DefinitionCache
from multus.kube.client import KubeClient
from multus.kube.kept import LARGEST, Kept
from multus.kube.transport import MAX_BODY

MIB = 1024 * 1024
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as found:
        yield found


KIND = Resource("g", "v1", "p")


@pytest.fixture
def problems() -> list[CNIError]:
    return []


@pytest.fixture
def cache(server: Scripted, tmp_path: Path, problems: list[CNIError]) -> Iterator[DefinitionCache]:
    client = KubeClient(server.access(tmp_path))
    found = DefinitionCache(client, KIND, ["spec"], on_problem=problems.append)
    yield found
    found.close()
    client.close()
    becomes(found.follower._thread.is_alive, False)


def config(cache: DefinitionCache, name: str) -> str | None:
    found = cache.get("team", name)
    return found["spec"]["config"] if found else None


#: Invalid objects, which no source can read.
ODD = {
    "a-number": b"5",
    "null": b"null",
    "metadata-a-number": b'{"metadata": 5}',
    "metadata-a-list": b'{"metadata": [1]}',
    "no-name": b'{"metadata": {"namespace": "team"}}',
    "name-a-list": b'{"metadata": {"namespace": "team", "name": ["odd"]}}',
    "annotations-a-string": nad("odd", annotations="x"),
    "annotations-a-list": nad("odd", annotations=["x"]),
    "spec-a-list": b'{"metadata": {"namespace": "team", "name": "odd"}, "spec": [1]}',
    "spec-a-number": b'{"metadata": {"namespace": "team", "name": "odd"}, "spec": 5}',
    "deep": b'{"metadata": {"namespace": "team", "name": "odd"}, "x": %s}' % DEEP,
    "deep-config": b'{"metadata": {"namespace": "team", "name": "odd"}, "spec": {"config": %s}}'
    % DEEP,
    "long-number": b'{"metadata": {"namespace": "team", "name": "odd", "uid": %s}}' % (b"9" * 9000),
    "surrogate": b'{"metadata": {"namespace": "team", "name": "\\ud800"}}',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_object_spoils_no_other(
    server: Scripted, cache: DefinitionCache, problems: list[CNIError], odd: bytes
) -> None:
    server.items = [nad("a"), odd, nad("b", "in the list")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert (config(cache, "a"), config(cache, "b")) == ("{}", "in the list")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        server.send(event(kind, odd))
    server.send(event("MODIFIED", nad("a", "after")))
    eventually(lambda: config(cache, "a") == "after")
    assert cache.synced
    assert cache.follower.lists == 1
    assert problems == []


def test_a_definition_that_becomes_odd_is_no_longer_answered(
    server: Scripted, cache: DefinitionCache
) -> None:
    server.items = [nad("odd", "before")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert config(cache, "odd") == "before"
    server.send(event("MODIFIED", ODD["annotations-a-string"]))
    eventually(lambda: cache.get("team", "odd") is None)
    assert cache.synced
    assert (len(cache.follower), cache.follower.marked) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [b"<html>", b'{"type": "ERROR", "object": {"code": "x", "details": 5}}', b"[1]"],
    ids=["no-json", "odd-error", "a-list"],
)
def test_after_a_malformed_line_the_list_is_read_again(
    server: Scripted, cache: DefinitionCache, problems: list[CNIError], line: bytes
) -> None:
    server.items = [nad("a")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    server.items = [nad("a", "in the new list")]
    server.send(line)
    eventually(lambda: config(cache, "a") == "in the new list")
    assert cache.follower.lists == 2
    assert len(problems) == 1


def test_an_unexpected_exception_is_logged_and_the_list_is_read_again(
    server: Scripted,
    cache: DefinitionCache,
    problems: list[CNIError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.items = [nad("a")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    put = Kept.put

    def fails(self: Kept, *arguments: object) -> None:
        monkeypatch.setattr(Kept, "put", put)
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(Kept, "put", fails)
    server.items = [nad("a", "again")]
    server.send(event("MODIFIED", nad("a")))
    eventually(lambda: problems)
    assert "RuntimeError" in problems[0].msg
    assert "nobody foresaw this" in problems[0].msg
    eventually(lambda: config(cache, "a") == "again")


def test_while_it_cannot_follow_it_answers_nothing_and_says_so(
    server: Scripted, cache: DefinitionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_FIRST_WAIT", 600.0)
    server.items = [nad("a")]
    assert not cache.follower.stale
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert not cache.follower.stale
    server.send(b"<html>")
    eventually(lambda: cache.follower.stale)
    assert not cache.synced
    assert cache.get("team", "a") is None


def test_silence_beyond_every_bookmark_is_staleness(
    server: Scripted, cache: DefinitionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.items = [nad("a")]
    cache.start()
    eventually(lambda: config(cache, "a") == "{}")
    monkeypatch.setattr(follower_module, "_STALE", 1.0)
    eventually(lambda: cache.follower.stale)
    assert cache.get("team", "a") is None

    def after_a_bookmark() -> str | None:
        server.send(event("BOOKMARK", b'{"metadata": {"resourceVersion": "8"}}'))
        time.sleep(0.1)
        return config(cache, "a")

    becomes(after_a_bookmark, "{}")


def test_a_callback_that_raises_ends_nothing(server: Scripted, tmp_path: Path) -> None:
    def refuse(error: CNIError) -> None:
        raise OSError("the disk of the log is full")

    client = KubeClient(server.access(tmp_path))
    cache = DefinitionCache(client, KIND, ["spec"], on_problem=refuse)
    server.items = [nad("a")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    server.items = [nad("a", "again")]
    server.send(b"<html>")
    eventually(lambda: config(cache, "a") == "again")
    cache.close()
    client.close()


# --- Bytes ----------------------------------------------------------------------------------------


def test_a_hundred_and_fifty_large_definitions_cost_no_more_than_the_budget(
    server: Scripted, cache: DefinitionCache
) -> None:
    large = nad("@", "x" * (3 * MIB // 2))
    server.items = [large.replace(b"@", b"large%d" % n) for n in range(150)]
    server.items[75:75] = [nad("small")]
    tracemalloc.start()
    try:
        cache.start()
        assert cache.follower.wait(PATIENCE)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * MAX_BODY
    assert peak < 8 * MAX_BODY
    assert cache.follower.bytes < 32 * MIB
    assert (len(cache.follower), cache.follower.marked) == (151, 150)
    assert config(cache, "small") == "{}"
    assert cache.get("team", "large3") is None
    assert cache.synced


def test_a_list_that_is_larger_than_any_answer_may_be_is_read_in_smaller_pages(
    server: Scripted, cache: DefinitionCache
) -> None:
    server.items = [nad(f"n{number}", "x" * 200_000) for number in range(100)]
    server.items += [nad(f"s{number}") for number in range(500)]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert len(cache.follower) == 600
    assert config(cache, "n99") == "x" * 200_000
    assert config(cache, "s499") == "{}"
    limits = [int(each["limit"]) for each in server.lists]
    assert limits[0] == 250
    assert min(limits) > 1
    # It raises the page size again when objects are small.
    assert max(limits[3:]) > 2 * min(limits)


def test_an_object_that_is_too_large_on_its_own_is_marked(
    server: Scripted, cache: DefinitionCache
) -> None:
    server.items = [nad("a"), nad("giant", "x" * (MAX_BODY + 1)), nad("b")]
    server.partial[1] = b'{"metadata": {"namespace": "team", "name": "giant"}}'
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert cache.synced
    assert (config(cache, "a"), config(cache, "b")) == ("{}", "{}")
    assert (len(cache.follower), cache.follower.marked) == (3, 1)


def test_an_event_that_is_too_large_has_the_list_read_again(
    server: Scripted, cache: DefinitionCache, problems: list[CNIError]
) -> None:
    server.items = [nad("a", "before")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    server.items = [nad("a", "x" * (MAX_BODY + MIB))]
    server.partial[0] = b'{"metadata": {"namespace": "team", "name": "a"}}'
    server.send(event("MODIFIED", server.items[0]))
    eventually(lambda: cache.follower.lists == 2)
    assert cache.get("team", "a") is None
    assert cache.follower.marked == 1
    assert "larger than" in problems[0].msg


def test_what_is_listed_again_is_held_once() -> None:
    before, after = Kept(10 * LARGEST), Kept(10 * LARGEST)
    value = {"metadata": {}, "spec": {"config": "x" * 1000}}
    before.put(("team", "a"), value)
    after.put(("team", "a"), dict(value), before)
    assert before._texts["team", "a"] is after._texts["team", "a"]


def test_the_budget_counts_what_is_kept_and_gives_it_back() -> None:
    kept = Kept(10_000)
    for number in range(50):
        kept.put(("team", f"n{number}"), {"x": "y" * 1000})
    assert kept.bytes <= 10_000
    assert kept.marked > 0
    assert kept.get(("team", "n0")) == {"x": "y" * 1000}
    # One that is marked exists; one that had no room for a mark may.
    assert kept.full
    assert not any(kept.lacks(("team", name)) for name in ("n0", "n49", "other"))
    for number in range(50):
        kept.put(("team", f"n{number}"), {"x": "z"})
        kept.drop(("team", f"n{number}"))
    assert (kept.bytes, kept.marked, len(kept)) == (0, 0, 0)


def test_every_reader_gets_an_object_of_its_own(server: Scripted, cache: DefinitionCache) -> None:
    server.items = [nad("a")]
    cache.start()
    assert cache.follower.wait(PATIENCE)
    (cache.get("team", "a") or {})["spec"]["config"] = "spoiled"
    assert config(cache, "a") == "{}"


def test_no_thread_is_left_behind(
    server: Scripted, cache: DefinitionCache, threads: Callable[[], list[str]]
) -> None:
    cache.start()
    assert cache.follower.wait(PATIENCE)
    cache.close()
    becomes(threads, [])


def test_what_differs_is_what_is_new_changed_or_gone() -> None:
    before, after = Kept(MIB), Kept(MIB)
    for number in range(3):
        before.put(("team", f"n{number}"), {"x": number})
    for number, value in ((1, 1), (2, "other"), (3, 3)):
        after.put(("team", f"n{number}"), {"x": value}, before)
    after.put(("team", "odd"), None, before)
    assert sorted(name for _, name in after.differing(before)) == ["n0", "n2", "n3", "odd"]
    assert after.differing(after) == []
