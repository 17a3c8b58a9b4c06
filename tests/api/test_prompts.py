"""/prompts, /styles and /wildcards, and what becomes of styles and wildcards in a job."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.header_only import write_tensors
from tests.test_tokens import TOKENIZER
from webui.app import App
from webui.requests import TextToImage


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


@pytest.fixture
def wildcards(client: TestClient, app: App) -> Iterator[None]:
    for name, text in (("colour", "red\ngreen\nblue\n"), ("animals/cats", "# mine\n__colour__ tabby\nlion")):
        assert client.put("/api/v1/wildcards", json={"name": name, "text": text}).status_code == 200
    yield
    shutil.rmtree(app.settings.wildcards_dir)


@pytest.mark.usefixtures("wildcards")
def test_wildcards_are_listed_read_changed_and_deleted(client: TestClient) -> None:
    assert client.get("/api/v1/wildcards").json() == {"wildcards": ["animals/cats", "colour"]}
    told = client.get("/api/v1/wildcards/animals/cats").json()
    assert told == {"name": "animals/cats", "text": "# mine\n__colour__ tabby\nlion", "lines": 2}
    changed = client.put("/api/v1/wildcards", json={"name": "animals/cats", "text": "tiger"})
    assert changed.json() == {"wildcards": ["animals/cats", "colour"]}
    assert client.get("/api/v1/wildcards/animals/cats").json()["lines"] == 1
    assert client.delete("/api/v1/wildcards", params={"name": "animals/cats"}).json() == {"wildcards": ["colour"]}
    assert client.get("/api/v1/wildcards/animals/cats").status_code == 422
    assert client.put("/api/v1/wildcards", json={"name": "../x", "text": "x"}).status_code == 422


@pytest.mark.usefixtures("wildcards", "styles")
def test_a_roll_shows_what_the_prompts_say_for_each_seed(client: TestClient) -> None:
    body = {"prompt": "a {__colour__|pale} cat", "styles": ["oil"], "seeds": list(range(40))}
    rolled = client.post("/api/v1/prompts/rolled", json=body).json()["rolled"]
    assert [each["seed"] for each in rolled] == body["seeds"]
    words = {"red", "green", "blue", "pale"}
    assert {each["prompt"] for each in rolled} == {f"oil painting of a {word} cat" for word in words}
    assert {each["negative_prompt"] for each in rolled} == {"photo"}


@pytest.mark.usefixtures("wildcards")
def test_every_picture_of_a_job_gets_the_words_of_its_own_seed(client: TestClient, app: App) -> None:
    values = {"prompt": "a __colour__ cat", "negative_prompt": "{1|2|3|4}", "hires_prompt": "__colour__", "seed": 5}
    job = client.post("/api/v1/jobs", json={"values": {**values, "batch_size": 6}}).json()
    assert job["request"]["prompt"] == "a __colour__ cat"
    assert "wordings" not in job["request"]
    request = app.store.job(job["id"]).request
    assert isinstance(request, TextToImage)
    assert request.wordings.keys() == {"prompt", "negative_prompt", "hires_prompt"}
    assert len(set(request.wordings["prompt"])) > 1
    for picture in range(6):
        alone = client.post("/api/v1/jobs", json={"values": {**values, "seed": 5 + picture}}).json()
        single = app.store.job(alone["id"]).request
        assert isinstance(single, TextToImage)
        assert single.wording(0) == request.wording(picture)
        said = request.worded(picture)
        assert said.wordings == {}
        assert (said.prompt, said.seed_of(picture)) == (f"a {said.hires_prompt} cat", 5 + picture)


def test_a_prompt_without_anything_to_draw_is_left_as_it_is(client: TestClient, app: App) -> None:
    job = client.post("/api/v1/jobs", json={"values": {"prompt": "a {cat} # not __here__", "batch_size": 3}}).json()
    request = app.store.job(job["id"]).request
    assert isinstance(request, TextToImage)
    assert request.worded(2).prompt == "a {cat} \n"
    job = client.post("/api/v1/jobs", json={"values": {"prompt": "a {cat} # not here"}}).json()
    assert app.store.job(job["id"]).request == app.store.job(job["id"]).request.resolved()
    assert job["request"]["prompt"] == "a {cat} # not here"


@pytest.mark.usefixtures("wildcards")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": "__color__"}, "'color'. Known: animals/cats, colour"),
        ({"prompt": "__colour__", "wordings": {"prompt": ["red"]}}, "'wordings'"),
        ({"prompt": "{" + "x" * 15_000 + "|" + "y" * 15_000 + "}" + "__colour__", "seed": 1}, "Prompt"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(client: TestClient, values: dict[str, Any], words: str) -> None:
    answer = client.post("/api/v1/jobs", json={"values": values})
    assert answer.status_code == 422
    assert words in answer.json()["error"]["text"]


@pytest.mark.usefixtures("wildcards")
def test_tokens_are_counted_with_the_words_that_were_drawn(client: TestClient, app: App) -> None:
    folder: Path = app.settings.checkpoints_dir / "one" / "tokenizer"
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    answer = client.post("/api/v1/prompts/tokens", json={"prompt": "{a red apple|a red apple}"})
    assert answer.json()["prompt"] == {"used": 3, "room": 75}
    answer = client.post("/api/v1/prompts/tokens", json={"prompt": "__color__"})
    assert answer.status_code == 422


def test_words_that_their_prompt_cannot_hold_are_refused_at_once(client: TestClient) -> None:
    long = ", ".join(f"word{number}" for number in range(1500))
    line = {"name": "long", "text": long}
    assert client.put("/api/v1/wildcards", json=line).status_code == 200
    try:
        for name in ("prompt", "negative_prompt", "hires_prompt"):
            answer = client.post("/api/v1/jobs", json={"values": {name: "__long__ __long__"}})
            assert answer.status_code == 422, name
            assert "20,000" in answer.json()["error"]["text"]
        assert client.post("/api/v1/jobs", json={"values": {"prompt": "__long__"}}).status_code == 201
    finally:
        client.delete("/api/v1/wildcards", params={"name": "long"})


@pytest.mark.usefixtures("wildcards")
def test_a_branch_of_a_branch_goes_on_from_drawn_words(client: TestClient, app: App) -> None:
    first = {"prompt": "a __colour__ dog", "seed": 3}
    second = {"prompt": "a {small|large} dog", "seed": 4, "branch_step": 2, "branch_from": first}
    values = {"prompt": "a dog", "seed": 5, "num_inference_steps": 8, "branch_step": 4, "branch_from": second}
    job = client.post("/api/v1/jobs", json={"values": values})
    assert job.status_code == 201, job.text
    request = app.store.job(job.json()["id"]).request
    assert isinstance(request, TextToImage)
    branch: Any = request.branch_from
    assert branch["prompt"] in ("a small dog", "a large dog")
    assert branch["branch_from"]["prompt"] in {f"a {word} dog" for word in ("red", "green", "blue")}
