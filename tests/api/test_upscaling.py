"""/api/v1/upscalers and jobs of the kind upscale: names are checked when a job is submitted."""

import io
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from webui.app import App


@pytest.fixture
def upscaler(app: App) -> Path:
    """A file in models/upscalers; nothing is read of it before a job runs."""
    path = app.settings.models_dir / "upscalers" / "mine.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def picture(client: TestClient) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    return str(client.post("/api/v1/inputs", content=buffer.getvalue()).json()["id"])


def submit(client: TestClient, **values: object) -> tuple[int, dict[str, object]]:
    answer = client.post("/api/v1/jobs", json={"kind": "upscale", "values": values})
    return answer.status_code, answer.json()


def test_upscalers_are_listed_as_they_lie_in_the_folder_now(client: TestClient, upscaler: Path) -> None:
    assert client.get("/api/v1/upscalers").json() == {"upscalers": ["None", "Lanczos", "Nearest", "mine"]}
    upscaler.unlink()
    assert client.get("/api/v1/upscalers").json() == {"upscalers": ["None", "Lanczos", "Nearest"]}


def test_an_upscale_needs_no_checkpoint_and_says_what_it_does(client: TestClient, upscaler: Path, picture: str) -> None:
    status, job = submit(client, image=picture, upscaler="mine", scale=2)
    assert (status, job["kind"], job["summary"]) == (201, "upscale", "mine × 2")
    client.post(f"/api/v1/jobs/{job['id']}/cancel")


@pytest.mark.parametrize("field", ["upscaler", "second_upscaler"])
def test_an_unknown_upscaler_is_refused_with_the_known_ones(client: TestClient, picture: str, field: str) -> None:
    status, answer = submit(client, image=picture, **{field: "../secret"})
    assert status == 422
    assert "Known: None, Lanczos, Nearest" in str(answer["error"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": "0" * 32}, "Upload it first"),
        ({"scale": 9}, "from 1.0 to 8.0"),
        ({"tile_size": 32, "tile_overlap": 20}, "Take 40 or more"),
        ({"size_mode": "Somehow"}, "Known: Scale by, Scale to"),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(
    client: TestClient, picture: str, values: dict[str, object], said: str
) -> None:
    status, answer = submit(client, **{"image": picture, **values})
    assert status in (404, 422)
    assert said in str(answer["error"])
