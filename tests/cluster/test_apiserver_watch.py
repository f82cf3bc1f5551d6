import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lateen.cluster.apiserver.event_expiry import expire_events
from lateen.cluster.apiserver.strategy import format_time
from lateen.testing.apiserver import MERGE_PATCH, RunningServer
from lateen.testing.poll import until

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def config_map(name: str, app: str = "web", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": app}}, "data": data}


async def relabel(api: RunningServer, name: str, app: str) -> None:
    patch = {"metadata": {"labels": {"app": app}}}
    assert (await api.request("PATCH", f"{MAPS}/{name}", patch, media_type=MERGE_PATCH)).status == 200


def shown(event: tuple[str, Any]) -> tuple[str, str]:
    return event[0], event[1]["metadata"]["name"]


async def test_a_watch_from_a_list_sees_every_later_change_once(api: RunningServer) -> None:
    await api.create(MAPS, config_map("old"))
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    async with api.watch(MAPS, resourceVersion=version) as events:
        created = await api.create(MAPS, config_map("a"))
        assert await events.next() == ("ADDED", created)
        await relabel(api, "a", "db")
        assert shown(await events.next()) == ("MODIFIED", "a")
        await api.delete(f"{MAPS}/a")
        kind, gone = await events.next()
        assert (kind, gone["metadata"]["labels"]) == ("DELETED", {"app": "db"})
        assert int(gone["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_watch_without_version_begins_with_what_is_there(api: RunningServer) -> None:
    await api.create(MAPS, config_map("a"))
    for query in ({}, {"resourceVersion": "0"}):
        async with api.watch(MAPS, labelSelector="app", **query) as events:
            assert shown(await events.next()) == ("ADDED", "a")


async def test_a_watch_resumes_where_another_ended(api: RunningServer) -> None:
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    for name in "abc":
        await api.create(MAPS, config_map(name))
    async with api.watch(MAPS, resourceVersion=version) as events:
        _, first = await events.next()
    async with api.watch(MAPS, resourceVersion=first["metadata"]["resourceVersion"]) as events:
        assert [shown(await events.next()) for _ in range(2)] == [("ADDED", "b"), ("ADDED", "c")]


async def test_objects_enter_and_leave_a_selection_by_their_labels(api: RunningServer) -> None:
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    async with api.watch(MAPS, resourceVersion=version, labelSelector="app=db") as events:
        await api.create(MAPS, config_map("a"))
        await relabel(api, "a", "db")
        kind, entered = await events.next()
        assert (kind, entered["metadata"]["labels"]) == ("ADDED", {"app": "db"})
        await relabel(api, "a", "web")
        kind, left = await events.next()
        assert (kind, left["metadata"]["labels"]) == ("DELETED", {"app": "db"})
        assert int(left["metadata"]["resourceVersion"]) > int(entered["metadata"]["resourceVersion"])


async def test_fields_and_namespaces_select_too(api: RunningServer) -> None:
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    selected = {"fieldSelector": "metadata.name=b", "resourceVersion": version}
    async with api.watch(MAPS, **selected) as events, api.watch("/api/v1/configmaps", **selected) as everywhere:
        await api.create(MAPS, config_map("a"))
        await api.create("/api/v1/namespaces/kube-system/configmaps", config_map("b"))
        await api.create(MAPS, config_map("b"))
        assert (await events.next())[1]["metadata"]["namespace"] == "default"
        assert (await everywhere.next())[1]["metadata"]["namespace"] == "kube-system"


async def test_a_watch_ends_after_its_time_with_a_bookmark(api: RunningServer) -> None:
    await api.create(MAPS, config_map("a"))
    list_version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await api.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    query = {"resourceVersion": list_version, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    async with api.watch(MAPS, **query) as events:
        ((kind, bookmark),) = await events.rest()
    assert (kind, bookmark["kind"]) == ("BOOKMARK", "ConfigMap")
    assert int(bookmark["metadata"]["resourceVersion"]) > int(list_version)


async def test_streamed_lists_end_with_an_annotated_bookmark(api: RunningServer) -> None:
    await api.create(MAPS, config_map("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(MAPS, labelSelector="app", **query) as events:
        assert shown(await events.next()) == ("ADDED", "a")
        kind, bookmark = await events.next()
        assert kind == "BOOKMARK"
        assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (await api.request("GET", MAPS, watch="1", sendInitialEvents="true")).status == 422


async def test_a_version_that_is_compacted_is_answered_410(api: RunningServer) -> None:
    await api.create(MAPS, config_map("a"))
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await relabel(api, "a", "db")
    api.store.compact(api.store.version)
    async with api.watch(MAPS, resourceVersion=version) as events:
        ((kind, status),) = await events.rest()
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    exact = await api.request("GET", MAPS, resourceVersion=version, resourceVersionMatch="Exact")
    assert (exact.status, exact.document["reason"]) == (410, "Expired")


async def test_a_version_from_the_future_is_waited_for_and_then_refused(api: RunningServer) -> None:
    answer = await api.request("GET", MAPS, resourceVersion=str(api.store.version + 5))
    assert (answer.status, answer.document["reason"]) == (504, "Timeout")
    assert answer.document["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_an_earlier_version_can_be_listed_exactly(api: RunningServer) -> None:
    await api.create(MAPS, config_map("a"))
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await relabel(api, "a", "db")
    await api.create(MAPS, config_map("b"))
    query = {"resourceVersion": version, "resourceVersionMatch": "Exact", "labelSelector": "app"}
    listed = await api.get(MAPS, **query)
    assert listed["metadata"]["resourceVersion"] == version
    assert [(item["metadata"]["name"], item["metadata"]["labels"]["app"]) for item in listed["items"]] == [("a", "web")]


async def test_pages_show_one_version_however_much_is_written_between_them(api: RunningServer) -> None:
    for number in range(5):
        await api.create(MAPS, config_map(f"m{number}"))
    page = await api.get(MAPS, limit="2", labelSelector="app")
    names = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        await api.delete(f"{MAPS}/{names[-1]}")
        await api.create(MAPS, config_map(f"new-{len(names)}"))
        page = await api.get(MAPS, limit="2", labelSelector="app", **{"continue": token})
        names += [item["metadata"]["name"] for item in page["items"]]
    assert names == ["m0", "m1", "m2", "m3", "m4"]
    assert (await api.request("GET", MAPS, **{"continue": "nonsense"})).status == 400


async def test_tables_and_bare_metadata_are_listed_and_watched(api: RunningServer) -> None:
    created = await api.create(MAPS, config_map("a", x="1"))
    table = (await api.request("GET", MAPS, accept=TABLE, labelSelector="app")).document
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    assert table["rows"][0]["object"]["metadata"] == created["metadata"]
    bare = (await api.request("GET", MAPS, accept=METADATA.replace("data;", "dataList;"), labelSelector="app")).document
    assert bare["items"] == [
        {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": created["metadata"]}
    ]
    async with (
        api.watch(MAPS, accept=TABLE, labelSelector="app") as tables,
        api.watch(MAPS, accept=METADATA, labelSelector="app") as metadata,
    ):
        kind, first = await tables.next()
        assert (kind, first["rows"][0]["cells"][0], len(first["columnDefinitions"])) == ("ADDED", "a", 3)
        assert (await metadata.next())[1]["metadata"] == created["metadata"]
        await relabel(api, "a", "db")
        kind, second = await tables.next()
        assert (kind, second["rows"][0]["cells"][0]) == ("MODIFIED", "a")


async def test_a_client_that_hangs_up_leaves_no_watch_behind(api: RunningServer) -> None:
    async with api.watch(MAPS, resourceVersion=str(api.store.version)):
        assert len(api.store._watches["configmaps"]) == 1
    await until(lambda: not api.store._watches["configmaps"], what="the watch is gone")


async def test_hanging_up_in_the_middle_of_events_is_no_error(
    api: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(cadata=api.pki.ca_pem.decode())
    port = int(api.url.rpartition(":")[2])
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    head = f"GET {MAPS}?watch=1&resourceVersion={version} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {api.pki.tokens['admin']}\r\n\r\n"

    async def come_and_go() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(head.encode())
        await reader.readuntil(b"ADDED")
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(come_and_go())
        for number in range(60):
            tasks.create_task(api.create(MAPS, config_map(f"m{number}", x="x" * 20_000)))
    await until(lambda: not api.store._watches["configmaps"], what="the watches are gone")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("selector", ["app in (", "=", "a b"])
async def test_a_selector_that_is_none_is_refused(api: RunningServer, selector: str) -> None:
    assert (await api.request("GET", MAPS, labelSelector=selector)).status == 400
    assert (await api.request("GET", MAPS, fieldSelector="spec.nothing=1")).status == 400


async def test_the_two_apis_for_events_show_the_same_events(api: RunningServer) -> None:
    old, new = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
    reference = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
    await api.create(old, {"metadata": {"name": "e1"}, "involvedObject": reference, "reason": "A", "message": "hello"})
    body = {
        "metadata": {"name": "e2"},
        "regarding": reference,
        "reason": "B",
        "note": "there",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "lateen.dev/test",
        "reportingInstance": "test",
        "action": "Testing",
        "type": "Normal",
    }
    await api.create(new, body)
    listed = await api.get(old, fieldSelector="involvedObject.uid=u")
    assert [(item["apiVersion"], item["message"]) for item in listed["items"]] == [("v1", "hello"), ("v1", "there")]
    listed = await api.get(new)
    assert [(item["note"], item["regarding"]["name"]) for item in listed["items"]] == [("hello", "p"), ("there", "p")]


async def test_events_end_after_an_hour(api: RunningServer) -> None:
    path = "/api/v1/namespaces/default/events"
    reference = {"kind": "Pod", "namespace": "default", "name": "p"}
    moment = datetime.now(UTC)
    for name, age in (("old", 70), ("new", 10)):
        stamp = format_time(moment - timedelta(minutes=age))
        await api.create(path, {"metadata": {"name": name}, "involvedObject": reference, "lastTimestamp": stamp})
    assert await expire_events(api.store, moment) == 1
    assert [item["metadata"]["name"] for item in (await api.get(path))["items"]] == ["new"]
