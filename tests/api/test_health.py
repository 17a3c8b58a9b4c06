"""Health, readiness and metrics, and events as programs read them."""

import json
from typing import Any

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.farm import wait_until
from webui import __version__
from webui.app import App

SMALL = {"num_inference_steps": 3, "width": 64, "height": 64}


def submitted(client: TestClient, **values: Any) -> str:
    answer = client.post("/api/v1/jobs", json={"values": {**SMALL, **values}})
    assert answer.status_code == 201
    return str(answer.json()["id"])


def metrics(client: TestClient) -> dict[tuple[str, ...], float]:
    """(name, label values…) -> value."""
    answer = client.get("/api/v1/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_server_that_lives_says_so_with_its_version(client: TestClient) -> None:
    assert client.get("/api/v1/health").json() == {"status": "ok", "version": __version__}


def test_it_is_ready_when_an_engine_runs_and_a_checkpoint_can_be_used(client: TestClient, app: App) -> None:
    wait_until(lambda: client.get("/api/v1/ready").status_code == 200, "the engine")
    told = client.get("/api/v1/ready").json()
    assert (told["ready"], told["has_checkpoint"], list(told["engines"])) == (True, True, ["engine"])
    folder = app.settings.checkpoints_dir
    aside = folder.rename(folder.with_name("aside"))
    try:
        app.refresh_models()
        answer = client.get("/api/v1/ready")
        assert (answer.status_code, answer.json()["has_checkpoint"]) == (503, False)
    finally:
        aside.rename(folder)
        app.refresh_models()


def test_metrics_count_jobs_engines_watchers_and_pictures(client: TestClient, app: App) -> None:
    before = metrics(client)
    job = submitted(client)
    wait_until(lambda: client.get(f"/api/v1/jobs/{job}").json()["state"] == "done", "the picture")
    with client.websocket_connect("/api/v1/events"):
        after = metrics(client)
    done = ("easel_jobs_finished_total", "done")
    assert after[done] == before[done] + 1
    assert after[("easel_events_total",)] > before[("easel_events_total",)]
    assert after[("easel_watchers",)] > before[("easel_watchers",)]
    assert after[("easel_info", __version__)] == 1
    assert {("easel_jobs", "queued"), ("easel_jobs", "running"), ("easel_jobs", "paused")} <= after.keys()
    assert [key for key in after if key[0] == "easel_engine_state"]
    assert after[("process_resident_memory_bytes",)] > 10**6
    assert metrics(client)[done] == after[done], "asking again counts nothing twice"


def test_a_stream_of_a_job_begins_with_the_job_and_ends_with_it(client: TestClient) -> None:
    job = submitted(client, num_inference_steps=9)
    lines = client.get(f"/api/v1/jobs/{job}/events").text.splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert kinds[0] == "job"
    assert kinds[-1] == "done" or len(kinds) == 1
    frames = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert {frame["job"] for frame in frames} == {job}
