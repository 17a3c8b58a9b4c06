"""A real training under a real queue: the engine is killed, the server closed, and it goes on from its run folder."""

from pathlib import Path
from typing import Any

import pytest

from tests.farm import wait_until
from tests.training.workshop import discs
from webui.app import App, create_app
from webui.events import JobState
from webui.settings import Settings

pytestmark = pytest.mark.torch

STEPS = 40
VALUES: dict[str, Any] = {
    "name": "mine", "dataset": "discs", "checkpoint": "tiny", "steps": STEPS, "size": 64, "seed": 5, "rank": 2,
    "save_every": 5, "sample_every": 0,
}  # fmt: skip
SECONDS = 120.0


@pytest.fixture
def settings(tmp_path: Path, tiny_models_dir: Path) -> Settings:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "checkpoints").symlink_to(tiny_models_dir / "checkpoints")
    discs(tmp_path / "data" / "datasets" / "discs")
    return Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", outputs_dir=tmp_path / "outputs",
                    device="cpu")  # fmt: skip


def step_of(app: App, job: str) -> int:
    progress = app.job(job)["progress"]
    return progress["step"] if progress else 0


def ends(app: App, job: str) -> None:
    wait_until(lambda: app.store.job(job).state.is_final, "the training to end", SECONDS)
    assert app.store.job(job).state is JobState.DONE, str(app.store.job(job).text)


def test_kill_minus_nine_and_a_closed_server_cost_nothing_of_a_training(settings: Settings) -> None:
    app = create_app(settings)
    app.start()
    job = app.submit("train-lora", VALUES).id
    wait_until(lambda: step_of(app, job) >= 12, "step 12", SECONDS)
    app.scheduler.workers[0].kill()
    wait_until(lambda: app.store.job(job).attempts == 2 and step_of(app, job) >= 20, "the second attempt", SECONDS)
    app.close()
    assert app.trainings.has_state(job)

    app = create_app(settings)
    app.start()
    try:
        ends(app, job)
        curve = app.trainings.losses(job, most=1000)
        assert [step for step, _ in curve] == list(range(1, STEPS + 1)), "no step is missing, none is told twice"
        assert app.store.job(job).result == "loras/mine.safetensors"
        assert list(app.models()["loras"]) == ["mine"]
        wait_until(lambda: not app.trainings.has_state(job), "its state to be removed")
    finally:
        app.close()
