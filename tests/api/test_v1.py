"""/api/v1 as a client sees it: a real app, a real worker process, real SQLite, requests over ASGI."""

import json
import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.farm import wait_until
from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.api import mount_api
from webui.app import create_app
from webui.params import parameters
from webui.requests import TextToImage
from webui.settings import Settings


def submit(client, **values):
    answer = client.post("/api/v1/jobs", json={"values": {"num_inference_steps": 4, **values}})
    assert answer.status_code == 201, answer.text
    return answer.json()


def finished(client, job_id, state="done"):
    deadline = time.monotonic() + 60
    while (job := client.get(f"/api/v1/jobs/{job_id}").json())["state"] != state:
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def test_a_job_is_accepted_with_the_checkpoints_defaults_and_gives_pictures(client):
    job = submit(client, prompt="a cat", batch_size=2)
    assert job["request"]["width"] == 128
    assert job["request"]["guidance_scale"] == 3.0
    assert job["request"]["checkpoint"] == "one"
    assert job["request"]["seed"] >= 0
    done = finished(client, job["id"])
    assert [picture["seed"] for picture in done["pictures"]] == [job["request"]["seed"], job["request"]["seed"] + 1]
    answer = client.get(done["pictures"][0]["url"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content.startswith(b"\x89PNG")
    info = client.get(done["pictures"][0]["url"] + "/info").json()
    assert info["job"] == job["id"]


def test_the_same_key_gives_the_same_job(client):
    bodies = [{"values": {"num_inference_steps": 1}, "key": "once"}] * 2
    first, second = (client.post("/api/v1/jobs", json=body).json()["id"] for body in bodies)
    assert first == second


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"values": {"width": 100}}, 422, "InvalidRequest", "multiple of 8"),
        ({"values": {"sampler": "x"}}, 422, "UnknownName", "Known: Euler"),
        ({"values": {"checkpoint": "../one"}}, 422, "UnknownName", "Known: one"),
        ({"values": {"checkpoint": 3}}, 422, "InvalidRequest", "name"),
        ({"values": {"steps": 3}}, 422, "UnknownName", "num_inference_steps"),
        ({"kind": "txt2video"}, 422, "UnknownName", "Known: txt2img"),
        ({"value": {}}, 422, "InvalidRequest", "value"),
        ({"values": []}, 422, "InvalidRequest", "values"),
        ({"key": ""}, 422, "InvalidRequest", "key"),
    ],
)
@pytest.mark.row("A5")
def test_a_wrong_submission_is_refused_with_status_kind_and_sentence(client, body, status, kind, words):
    answer = client.post("/api/v1/jobs", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == kind
    assert words in answer.json()["error"]["text"]


@pytest.mark.row("A5")
def test_half_a_surrogate_pair_is_refused_like_any_other_name(client):
    body = b'{"values": {"sampler": "\\ud800"}}'
    answer = client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "Known: Euler" in answer.json()["error"]["text"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"values": {"width": NaN}}', b"[" * 100_000])
@pytest.mark.row("A5")
def test_a_body_that_is_no_request_is_refused_and_the_server_goes_on(client, content):
    answer = client.post("/api/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["text"]


def test_stop_pause_and_resume_change_the_job_as_they_say(client):
    running = submit(client, num_inference_steps=150, batch_count=100)  # longer than any machine is busy
    waiting = submit(client)
    assert client.post(f"/api/v1/jobs/{running['id']}/pause").status_code == 200
    finished(client, running["id"], "paused")
    finished(client, waiting["id"])
    assert client.post(f"/api/v1/jobs/{running['id']}/resume").json()["state"] in ("queued", "running")
    client.post(f"/api/v1/jobs/{running['id']}/cancel")
    finished(client, running["id"], "cancelled")
    answer = client.post(f"/api/v1/jobs/{running['id']}/resume")
    assert answer.status_code == 409
    assert answer.json()["error"]["kind"] == "Conflict"


@pytest.mark.parametrize("path", ["jobs/nothing", "jobs/..%2F..%2Fetc", "pictures/nothing", "pictures/1/info", "none"])
@pytest.mark.row("F5", "A10")
def test_an_unknown_id_or_path_is_not_found(client, path):
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["text"]


@pytest.mark.row("F6")
def test_a_picture_whose_file_was_replaced_is_never_served_as_something_else(client, app):
    job = finished(client, submit(client)["id"])
    record = app.picture(job["pictures"][0]["id"])
    (app.settings.outputs_dir / record.path).write_text("<script>alert(1)</script>")
    assert client.get(job["pictures"][0]["url"]).status_code == 404


def test_jobs_are_listed_newest_first_and_by_state(client):
    ids = [finished(client, submit(client)["id"])["id"] for _ in range(2)]
    assert [job["id"] for job in client.get("/api/v1/jobs?limit=2&state=done").json()["jobs"]] == ids[::-1]
    named = client.get("/api/v1/jobs", params={"id": [ids[0], "nothing"]}).json()["jobs"]
    assert [job["id"] for job in named] == [ids[0]]
    assert client.get("/api/v1/jobs?limit=0").status_code == 422
    assert client.get("/api/v1/jobs?state=unknown").status_code == 422


def test_parameters_tell_everything_a_form_needs(client):
    listed = {entry["name"]: entry for entry in client.get("/api/v1/parameters/txt2img").json()["parameters"]}
    assert list(listed) == list(parameters(TextToImage))
    assert (listed["width"]["minimum"], listed["width"]["maximum"], listed["width"]["step"]) == (64, 2048, 8)
    assert "Euler a" in listed["sampler"]["choices"]


def test_a_new_checkpoint_appears_after_refresh_and_a_broken_one_says_why(client, app):
    write_checkpoint(app.settings.checkpoints_dir / "two")
    (app.settings.checkpoints_dir / "two/unet/config.json").unlink()
    listed = client.post("/api/v1/checkpoints/refresh").json()
    assert listed["default"] == "one"
    assert {entry["name"]: bool(entry["problem"]) for entry in listed["checkpoints"]} == {"one": False, "two": True}


def receive_until(socket, kind):
    frames = []
    while not frames or frames[-1]["kind"] != kind:
        frames.append(json.loads(socket.receive_text()))
    return frames


def test_a_watcher_sees_every_step_and_the_picture_and_can_come_back(client):
    with client.websocket_connect("/api/v1/events") as socket:
        hello, snapshot = receive_until(socket, "snapshot")
        assert not hello["replayed"]
        assert snapshot["status"]["version"]
        job = submit(client, prompt="watched")
        frames = receive_until(socket, "done")
    mine = [frame for frame in frames if frame["job"] == job["id"]]
    assert next(frame["kind"] for frame in mine) == "queued"
    assert max(frame["step"] for frame in mine if frame["kind"] == "progress") == 4
    assert any(str(frame.get("preview", "")).startswith("data:image/jpeg") for frame in mine)
    assert next(frame for frame in mine if frame["kind"] == "image")["image"]["url"]
    numbers = [frame["n"] for frame in frames]
    assert numbers == sorted(numbers)

    queued = next(frame for frame in mine if frame["kind"] == "queued")
    with client.websocket_connect(f"/api/v1/events?since={queued['n']}&instance={hello['instance']}") as socket:
        again = receive_until(socket, "done")
    assert again[0]["replayed"]
    assert "image" in [frame["kind"] for frame in again]


def test_a_ping_is_answered(client):
    with client.websocket_connect("/api/v1/events") as socket:
        receive_until(socket, "snapshot")
        socket.send_text('{"kind":"ping"}')
        assert receive_until(socket, "pong")


def test_the_openapi_document_describes_the_submission(client):
    schema = client.get("/openapi.json").json()
    assert schema["components"]["schemas"]["Submission"]["additionalProperties"] is False
    assert "/api/v1/pictures/{picture_id}" in schema["paths"]


def test_the_first_page_that_is_drawn_lets_waiting_engines_start(tmp_path):
    folders = {f"{name}_dir": tmp_path / name for name in ("data", "models", "outputs")}
    app = create_app(Settings(**folders), engine_factory=ScriptedEngineFactory())
    app.start(engines_wait=True)
    fastapi = FastAPI()
    mount_api(fastapi, app)
    client = TestClient(fastapi)
    try:
        time.sleep(0.3)
        assert client.get("/api/v1/status").json()["engine"]["state"] == "starting"
        client.get("/api/v1/checkpoints")
        wait_until(lambda: app.status()["engine"]["state"] == "ready", "the engine")
    finally:
        app.close()


@pytest.mark.parametrize("kind", ["nothing", "train-lora", "merge-models"])
def test_only_pictures_are_estimated(client: TestClient, kind: str) -> None:
    answer = client.post("/api/v1/jobs/estimate", json={"kind": kind, "values": {}})
    assert answer.status_code == 422
    assert "txt2img" in answer.json()["error"]["text"]
