"""/prompts and /styles, and styles in a job."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.header_only import write_tensors
from tests.test_tokens import TOKENIZER
from webui.app import App


@pytest.fixture
def styles(client: TestClient, app: App) -> Iterator[None]:
    for name, prompt, negative in (("oil", "oil painting of {prompt}", "photo"), ("best", "masterpiece", "")):
        answer = client.put("/api/v1/styles", json={"name": name, "prompt": prompt, "negative_prompt": negative})
        assert answer.status_code == 200
    yield
    (app.settings.data_dir / "styles.csv").unlink()


@pytest.mark.usefixtures("styles")
def test_styles_are_listed_in_their_order_and_can_be_deleted(client: TestClient) -> None:
    assert [style["name"] for style in client.get("/api/v1/styles").json()["styles"]] == ["oil", "best"]
    left = client.delete("/api/v1/styles", params={"name": "oil"}).json()
    assert [style["name"] for style in left["styles"]] == ["best"]
    assert client.delete("/api/v1/styles", params={"name": "oil"}).status_code == 422


@pytest.mark.usefixtures("styles")
def test_styles_go_into_both_prompts_of_a_job(client: TestClient) -> None:
    values = {"prompt": "a cat", "negative_prompt": "dog"}
    job = client.post("/api/v1/jobs", json={"values": values, "styles": ["oil", "best"]}).json()
    assert job["request"]["prompt"] == "oil painting of a cat, masterpiece"
    assert job["request"]["negative_prompt"] == "dog, photo"
    styled = client.post("/api/v1/prompts/styled", json={**values, "styles": ["oil", "best"]}).json()
    assert styled == {name: job["request"][name] for name in values}


@pytest.mark.usefixtures("styles")
def test_an_unknown_style_is_refused_with_the_known_ones(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs", json={"values": {"prompt": "a cat"}, "styles": ["oi"]})
    assert answer.status_code == 422
    assert "oil" in answer.json()["error"]["text"]


def test_styles_do_not_fit_into_a_job_without_a_prompt(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs", json={"kind": "train-lora", "styles": ["oil"]})
    assert answer.status_code == 422
    assert "no prompt" in answer.json()["error"]["text"]


def test_tokens_are_counted_with_the_checkpoint_s_own_words(client: TestClient, app: App) -> None:
    folder: Path = app.settings.checkpoints_dir / "one" / "tokenizer"
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    write_tensors(app.settings.models_dir / "embeddings/sks.safetensors", {"emb_params": (8, 768)})
    app.refresh_models()
    answer = client.post("/api/v1/prompts/tokens", json={"prompt": "a red sks", "negative_prompt": "blur BREAK x"})
    assert answer.json()["prompt"] == {"used": 10, "room": 75}
    answer = client.post("/api/v1/prompts/tokens", json={"prompt": "a red apple", "negative_prompt": "blur BREAK x"})
    assert answer.json() == {"prompt": {"used": 3, "room": 75}, "negative_prompt": {"used": 76, "room": 150}}
    unknown = client.post("/api/v1/prompts/tokens", json={"checkpoint": "nothing"})
    assert unknown.status_code == 422
