"""A request as a command line and as a program: both say exactly what was asked for, and the program runs."""

import ast
import contextlib
import io
import json
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.snippets import curl, python

SNIPPETS = "/api/v1/snippets"
SMALL = {"num_inference_steps": 2, "width": 64, "height": 64, "seed": 5}


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60))
def test_a_shell_and_python_read_what_was_meant(prompt: str, negative: str) -> None:
    values = {
        "prompt": prompt.replace("\0", ""),
        "negative_prompt": negative.replace("\0", ""),
        "seed": -1,
        "tiling": True,
    }
    command = curl("http://h:1", "txt2img", values, ["a b"]).partition("\n# ")[0]
    words = shlex.split(command)
    assert json.loads(words[words.index("-d") + 1]) == {"kind": "txt2img", "values": values, "styles": ["a b"]}
    code = python("http://h:1", "txt2img", values).partition('job = json.loads(ask("/api/v1/jobs", ')[2]
    body = code.partition("))\nwhile")[0]
    assert ast.literal_eval(body) == {"kind": "txt2img", "values": values}


def test_no_secret_stands_in_what_is_copied() -> None:
    for text in (curl("http://h", "txt2img", {}, token=True), python("http://h", "txt2img", {}, token=True)):
        assert "EASEL_TOKEN" in text
        assert "Authorization" in text
    compile(python("http://h", "txt2img", {}, token=True), "copied", "exec")


def test_what_could_not_be_asked_for_is_not_written_down(client: TestClient) -> None:
    good = client.post(SNIPPETS, json={"values": {"prompt": "x"}})
    assert good.json()["curl"].startswith("curl -s http://testserver/api/v1/jobs ")
    assert client.post(SNIPPETS, json={"values": {"width": 100}}).status_code == 422
    assert client.post(SNIPPETS, json={"kind": "nothing"}).status_code == 422


def test_a_merge_and_a_conversion_can_be_copied_too(client: TestClient) -> None:
    merge = {"kind": "merge-models", "values": {"primary": "one", "secondary": "one"}}
    assert client.post(SNIPPETS, json=merge).status_code == 200
    convert = {"kind": "convert-model", "values": {"source": "one", "precision": "fp16"}}
    assert client.post(SNIPPETS, json=convert).status_code == 200
    assert client.post(SNIPPETS, json={"kind": "convert-model", "values": {"source": "none"}}).status_code in (404, 422)


def test_the_copied_program_makes_the_picture(client: TestClient, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(client.app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)
        program = python(f"http://127.0.0.1:{listener.getsockname()[1]}", "txt2img", {"prompt": 'it\'s\n"$x"', **SMALL})
        subprocess.run([sys.executable, "-"], input=program, text=True, cwd=tmp_path, check=True, timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["00000-5.png"]
    assert io.BytesIO((tmp_path / "00000-5.png").read_bytes()).read(4) == b"\x89PNG"


@pytest.mark.parametrize("text", ["$(touch x)", "`touch x`", "'; touch x; '", '"; touch x'])
def test_no_prompt_breaks_out_of_the_command(text: str, tmp_path: Path) -> None:
    line = curl("http://127.0.0.1:9", "txt2img", {"prompt": text}).splitlines()[0].replace("curl", "true", 1)
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=20)
    assert list(tmp_path.iterdir()) == []
