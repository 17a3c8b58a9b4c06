"""Trainings over /api/v1: submitted like any job, followed, stopped, taken up again. The engine is the scripted one."""

import io
import shutil
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.header_only import LORA, write_checkpoint, write_tensors
from webui.app import App
from webui.contract import STATE_FOLDER

VALUES = {"name": "mine", "dataset": "cats", "steps": 4, "sample_every": 2}


@pytest.fixture(scope="module", autouse=True)
def _cats(client: TestClient) -> None:
    """The dataset of all trainings here."""
    client.post("/api/v1/datasets", json={"name": "cats"})
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    client.post("/api/v1/datasets/cats/files", params={"file": "cat.png"}, content=picture.getvalue())


def submit(client: TestClient, kind: str = "train-lora", key: str | None = None, **values: Any) -> Any:
    return client.post("/api/v1/jobs", json={"kind": kind, "values": {**VALUES, **values}, "key": key})


def finished(client: TestClient, job_id: str, state: str = "done") -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (job := client.get(f"/api/v1/jobs/{job_id}").json())["state"] != state:
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    told: dict[str, Any] = job
    return told


def test_a_training_is_a_job_with_a_curve_samples_and_a_result(client: TestClient) -> None:
    job = submit(client).json()
    assert (job["kind"], job["summary"], job["request"]["checkpoint"], job["request"]["size"]) == (
        "train-lora", "mine", "one", 128
    )  # fmt: skip
    done = finished(client, job["id"])
    assert (done["result"], done["pictures"], done["aside"]) == ("loras/mine.safetensors", [], False)
    told = client.get(f"/api/v1/jobs/{job['id']}/training").json()
    assert [step for step, _ in told["losses"]] == [1, 2, 3, 4]
    assert [sample["step"] for sample in told["samples"]] == [2, 4]
    answer = client.get(told["samples"][0]["url"])
    assert (answer.headers["content-type"], answer.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert len(client.get(f"/api/v1/jobs/{job['id']}/training", params={"points": 2}).json()["losses"]) == 2


def test_trainings_and_pictures_are_listed_apart(client: TestClient) -> None:
    picture = client.post("/api/v1/jobs", json={"values": {"num_inference_steps": 1}}).json()["id"]
    training = finished(client, submit(client, name="listed").json()["id"])["id"]
    finished(client, picture)

    def listed(wanted: str) -> list[str]:
        return [job["id"] for job in client.get(f"/api/v1/jobs?{wanted}").json()["jobs"]]

    assert training in listed("training=true") and picture not in listed("training=true")
    assert picture in listed("training=false") and training not in listed("training=false")
    assert {training, picture} <= set(listed(""))


@pytest.mark.parametrize(
    ("kind", "values", "status", "words"),
    [
        ("train-lora", {"name": "../mine"}, 422, "Name"),
        ("train-lora", {"dataset": "dogs"}, 422, "Known: cats"),
        ("train-lora", {"dataset": "../cats"}, 422, "Dataset"),
        ("train-lora", {"checkpoint": "../one"}, 422, "Known: one"),
        ("train-lora", {"rank": 0}, 422, "1 to 256"),
        ("train-lora", {"learning_rate": "fast"}, 422, "Learning rate"),
        ("train-lora", {"train_text_encoder": 1}, 422, "true or false"),
        ("train-lora", {"width": 64}, 422, "rank"),
        ("train-lora", {"precision": "int8"}, 422, "fp32"),
        ("train-lora", {"size": 100}, 422, "multiple of 8"),
        ("train-embedding", {}, 422, "Token"),
        ("train-embedding", {"token": "two words"}, 422, "Token"),
        ("train-autoencoder", {"downsampling": 3}, 422, "Known: 1, 2, 4"),
        ("train-everything", {}, 422, "train-lora"),
    ],
)
def test_a_wrong_training_is_refused_at_once_and_in_words(
    client: TestClient, kind: str, values: dict[str, Any], status: int, words: str
) -> None:
    answer = submit(client, kind, **values)
    assert answer.status_code == status
    assert words in answer.json()["error"]["text"]


def test_two_trainings_cannot_make_the_same_result_but_the_same_key_is_the_same_training(client: TestClient) -> None:
    first = submit(client, name="twice", steps=100_000, key="once").json()
    assert submit(client, name="twice", key="once").json()["id"] == first["id"]
    answer = submit(client, name="twice")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "Conflict")
    client.post(f"/api/v1/jobs/{first['id']}/cancel")
    finished(client, first["id"], "cancelled")
    finished(client, submit(client, name="twice").json()["id"])


def test_a_training_is_paused_resumed_and_stopped_and_its_dataset_stays_meanwhile(client: TestClient) -> None:
    job = submit(client, name="held", steps=100_000).json()["id"]
    finished(client, job, "running")
    assert client.post(f"/api/v1/jobs/{job}/pause").status_code == 200
    finished(client, job, "paused")
    answer = client.delete("/api/v1/datasets/cats")
    assert (answer.status_code, "held" in answer.json()["error"]["text"]) == (409, True)
    client.post(f"/api/v1/jobs/{job}/resume")
    finished(client, job, "running")
    client.post(f"/api/v1/jobs/{job}/cancel")
    finished(client, job, "cancelled")
    assert client.post(f"/api/v1/jobs/{job}/again").status_code == 409


def test_a_failed_training_is_taken_up_again_from_what_it_has_saved(client: TestClient, app: App) -> None:
    job = submit(client, name="dies", sample_prompt="raise").json()["id"]
    assert client.get(f"/api/v1/jobs/{job}/training").json()["can_go_on"] is False
    state = app.settings.trainings_dir / job / STATE_FOLDER / "state.pt"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.touch()
    finished(client, job, "failed")
    assert client.get(f"/api/v1/jobs/{job}/training").json()["can_go_on"] is True
    answer = client.post(f"/api/v1/jobs/{job}/again")
    assert answer.status_code == 201
    heir = answer.json()
    assert heir["id"] != job and heir["request"] == client.get(f"/api/v1/jobs/{job}").json()["request"]
    finished(client, heir["id"], "failed")


@pytest.mark.parametrize("path", ["nothing/training", "nothing/samples/1", "..%2F..%2Fetc/training", "nothing/again"])
def test_an_unknown_training_is_not_found(client: TestClient, path: str) -> None:
    method = "POST" if path.endswith("again") else "GET"
    assert client.request(method, f"/api/v1/jobs/{path}").status_code == 404


def test_a_sample_that_was_never_made_is_not_found(client: TestClient) -> None:
    job = finished(client, submit(client, name="sampled").json()["id"])["id"]
    assert client.get(f"/api/v1/jobs/{job}/samples/3").status_code == 404
    assert client.get(f"/api/v1/jobs/{job}/samples/-1").status_code == 404
    assert client.get(f"/api/v1/jobs/{job}/samples/x").status_code == 422


def test_a_checkpoint_that_a_training_has_made_is_there_at_once(client: TestClient, app: App) -> None:
    watch = app.hub.subscribe()
    job = submit(client, "train-diffusion", name="made", steps=100, size=64).json()["id"]
    write_checkpoint(app.settings.checkpoints_dir / "made")  # by the trainer, in earnest
    finished(client, job)
    listed = client.get("/api/v1/checkpoints").json()["checkpoints"]
    assert "made" in [checkpoint["name"] for checkpoint in listed]
    kinds = []
    while (frame := watch.get(timeout=0)) is not None:
        kinds.append(frame["kind"])
    watch.close()
    assert "models" in kinds, "every page is told to look"
    shutil.rmtree(app.settings.checkpoints_dir / "made")
    app.refresh_models()


def test_models_are_listed_by_kind(client: TestClient, app: App) -> None:
    for name in ("loras/a.safetensors", "controlnets/b/config.json", "vae/c/config.json", "embeddings/d.safetensors"):
        path = app.settings.models_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    app.refresh_models()
    shelves = client.get("/api/v1/models").json()
    assert {shelf: [model["name"] for model in models] for shelf, models in shelves.items()} == {
        "checkpoints": ["one"], "loras": ["a"], "controlnets": ["b"], "vae": ["c"], "embeddings": ["d"], "upscalers": []
    }  # fmt: skip
    assert shelves["checkpoints"][0]["can_train"] is True
    assert shelves["vae"][0]["layout"] == "folder"
    assert shelves["loras"][0]["problem"]["text"] == "it is damaged: it is empty. Download it again."


def test_a_lora_shows_its_picture_and_what_its_maker_wrote(client: TestClient, app: App) -> None:
    folder = app.settings.models_dir / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "cat.safetensors", LORA, {"ss_output_name": "cat_v1", "note": "x" * 5000})
    (folder / "cat.png").write_bytes(b"\x89PNG rest")
    write_tensors(folder / "dog.safetensors", LORA)
    (folder / "dog.png").write_bytes(b"<svg onload=alert(1)>")
    app.refresh_models()
    lora = next(model for model in client.get("/api/v1/models").json()["loras"] if model["name"] == "cat")
    assert (lora["kind"], lora["family"], lora["alias"], lora["has_preview"]) == ("lora", "sd1", "cat_v1", True)
    picture = client.get("/api/v1/models/loras/preview", params={"name": "cat"})
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG rest", "image/png")
    metadata = client.get("/api/v1/models/loras/metadata", params={"name": "cat"}).json()
    assert (metadata["ss_output_name"], len(metadata["note"])) == ("cat_v1", 2000)
    for name in ("dog", "none", "../loras/cat", str(folder / "cat.png")):
        assert client.get("/api/v1/models/loras/preview", params={"name": name}).status_code == 404


def test_every_kind_of_training_tells_its_parameters(client: TestClient) -> None:
    listed = client.get("/api/v1/parameters/train-embedding").json()["parameters"]
    token = next(entry for entry in listed if entry["name"] == "token")
    assert (token["required"], token["default"]) == (True, None)
    assert next(entry for entry in listed if entry["name"] == "vectors")["required"] is False
