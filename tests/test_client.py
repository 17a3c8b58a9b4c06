"""The Python client against a real server at a real port, and the commands that use it."""

import contextlib
import io
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui import __version__
from webui.api import mount_api
from webui.app import App, create_app
from webui.client import Client
from webui.errors import Refused, Unreachable
from webui.events import JobState
from webui.gate import Gate
from webui.generate import generate
from webui.running import FILE, announced, running_server
from webui.settings import Settings

SMALL = {"width": 64, "height": 64, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = tmp_path_factory.mktemp("client")
    write_checkpoint(home / "models/checkpoints/one", title="One")
    folders: dict[str, Any] = {f"{name}_dir": home / name for name in ("data", "models", "outputs")}
    app = create_app(Settings(**folders), engine_factory=ScriptedEngineFactory())
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def settings(app: App) -> Iterator[Settings]:
    """Of a server that is listening, with the gate in front."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        settings = replace(app.settings, port=listener.getsockname()[1], listen=True)
        fastapi = FastAPI()
        mount_api(fastapi, app)
        server = uvicorn.Server(uvicorn.Config(Gate(fastapi, settings), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield settings
        server.should_exit = server.force_exit = True
        thread.join(20)


@pytest.fixture
def easel(settings: Settings) -> Client:
    return Client(f"http://127.0.0.1:{settings.port}/", token=settings.token)


def test_a_picture_is_asked_for_waited_for_and_fetched(easel: Client) -> None:
    job = easel.submit("txt2img", {"prompt": "a cat", "seed": 5, "batch_count": 2, **SMALL}, key="once")
    assert easel.submit("txt2img", {"prompt": "a cat"}, key="once").id == job.id
    done = easel.wait(job)
    assert (done.state, [picture.seed for picture in done.pictures]) == (JobState.DONE, [5, 6])
    with Image.open(io.BytesIO(easel.content(done.pictures[0]))) as picture:
        assert picture.size == (64, 64)
    assert easel.jobs(limit=1)[0].id == job.id
    assert (easel.health(), easel.checkpoints()) == (__version__, ["one"])


def test_events_tell_every_step_and_the_end_and_go_on_where_they_broke(easel: Client) -> None:
    job = easel.submit("txt2img", {"prompt": "watched", **SMALL, "num_inference_steps": 20})
    frames = list(easel.events(job.id))
    assert (frames[0].kind, frames[-1].kind) == ("job", "done")
    assert max(frame.values["step"] for frame in frames if frame.kind == "progress") == 20
    over = list(easel.events(job.id))
    assert [frame.kind for frame in over] == ["job"]
    assert over[0].values["value"]["state"] == "done"
    another = easel.submit("txt2img", {"prompt": "watched again", **SMALL, "num_inference_steps": 60})
    watched = easel.events(another.id)
    first = [next(watched) for _ in range(3)]
    del watched
    rest = list(easel.events(another.id, after=first[-1].id))
    assert rest[-1].kind == "done"
    if rest[0].kind != "job":  # it was over by then
        assert int(rest[0].id.split("-")[1]) > int(first[-1].id.split("-")[1])


def test_a_picture_can_be_uploaded_and_begun_with(easel: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(path)
    assert easel.upload(path) == easel.upload(path.read_bytes())
    job = easel.wait(easel.submit("img2img", {"image": easel.upload(path), **SMALL}))
    assert job.kind == "img2img"


def test_what_the_server_refuses_is_said_in_its_own_words(easel: Client, settings: Settings) -> None:
    with pytest.raises(Refused, match="Known: Euler") as error:
        easel.submit("txt2img", {"sampler": "x"})
    assert (error.value.status, error.value.answered) == (422, "UnknownName")
    with pytest.raises(Refused, match="no job"):
        easel.job("nothing")
    with pytest.raises(Refused, match="cannot be drawn"):
        easel.wait(easel.submit("txt2img", {"prompt": "refuse", **SMALL}))
    with pytest.raises(Refused, match="link"):
        Client(f"http://127.0.0.1:{settings.port}").health()
    with pytest.raises(Unreachable, match="No Easel answers"):
        Client("http://127.0.0.1:9").health()


def test_a_job_is_told_to_stop(easel: Client) -> None:
    job = easel.submit("txt2img", {"prompt": "long", **SMALL, "num_inference_steps": 150, "batch_count": 20})
    easel.tell(job.id, "cancel")
    assert easel.wait(job).state is JobState.CANCELLED
    with pytest.raises(TimeoutError):
        easel.wait(easel.submit("txt2img", {**SMALL, "num_inference_steps": 150, "batch_count": 9}), timeout=0.01)
    easel.tell(easel.jobs(limit=1)[0].id, "cancel")


def test_a_server_says_where_it_is_as_long_as_it_runs(settings: Settings) -> None:
    path = settings.data_dir / FILE
    assert running_server(settings.data_dir, settings.models_dir) is None
    with announced(settings):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        server = running_server(settings.data_dir, settings.models_dir)
        assert server is not None
        assert server.health() == __version__
        assert running_server(settings.data_dir, settings.models_dir / "other") is None
    assert not path.exists()
    for left in (
        "",
        "{}",
        "[]",
        json.dumps({"address": "http://127.0.0.1:9", "token": "", "models": str(settings.models_dir)}),
    ):
        path.write_text(left)
        assert running_server(settings.data_dir, settings.models_dir) is None, left
    path.unlink()


def test_generate_asks_the_server_that_runs_on_its_data_folder(settings: Settings, app: App, tmp_path: Path) -> None:
    before = app.store.count(JobState.DONE)
    with announced(settings):
        output = tmp_path / "out.png"
        values = {"prompt": "by command", "seed": 3, "batch_count": 2, "preview": "Off", **SMALL}
        own = replace(settings, listen=False, device="auto")
        written = generate(own, values, output, overwrite=False)
        assert written == [tmp_path / "out-1.png", tmp_path / "out-2.png"]
        with pytest.raises(Refused, match="cannot be drawn"):
            generate(own, {**values, "prompt": "refuse"}, tmp_path / "no.png", overwrite=False)
    assert app.store.count(JobState.DONE) == before + 1
    with Image.open(written[0]) as picture:
        assert picture.size == (64, 64)


def test_waiting_ends_in_time_also_where_nothing_but_signs_of_life_arrives() -> None:
    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(40):
                    self.wfile.write(b": still here\n\n")
                    time.sleep(0.25)

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="not over after 1"):
        Client(f"http://127.0.0.1:{server.server_port}").wait("x", timeout=1.0)
    assert time.monotonic() - begin < 5
    server.shutdown()
    server.server_close()
