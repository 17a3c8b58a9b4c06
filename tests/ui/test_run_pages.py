"""What the page's own modules do with runs of scripts, in Node where it is installed: no browser, no server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from webui.settings import ROOT

STUBS = """
const kept = new Map(Object.entries(KEPT));
globalThis.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value),
  removeItem: (name) => kept.delete(name),
};
globalThis.localStorage = globalThis.sessionStorage;
globalThis.window = globalThis;
globalThis.location = { href: "http://x/", origin: "http://x" };
globalThis.document = Object.assign(new EventTarget(), { querySelector: () => null, getElementById: () => null,
  documentElement: { lang: "en", dataset: {} }, baseURI: "http://x/" });
globalThis.HTMLElement = class {};
let asked = 0;
let answer = { ok: false, status: 404, body: { error: { kind: "NotFound", text: "", template: "", values: {} } } };
globalThis.fetch = async () => {
  asked += 1;
  return { ...answer, headers: { get: () => "application/json" }, json: async () => answer.body };
};
const rest = () => new Promise((done) => setTimeout(done, 50));
"""
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


def run(folder: Path, code: str) -> Any:
    """What `code` gives to `tell`, with the page's modules beside it."""
    shutil.copytree(ROOT / "webui" / "ui" / "assets", folder / "assets")
    (folder / "assets" / "package.json").write_text('{"type": "module"}')
    tell = "const tell = (value) => console.log(JSON.stringify(value));\n"
    (folder / "assets" / "check.js").write_text(STUBS.replace("KEPT", "{}") + tell + code)
    done = subprocess.run(
        ["node", "check.js"], cwd=folder / "assets", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_of_many_cells_takes_no_place_of_the_persons_own_jobs(tmp_path: Path) -> None:
    code = """
    const { withAdopted } = await import("./jobs.js");
    const theirs = Array.from({ length: 80 }, (_, at) => `r${at}`);
    const first = withAdopted(["mine", "also mine"], theirs, new Set(theirs));
    tell([first.slice(0, 3), first.length, first.at(-1)]);
    """
    assert run(tmp_path, code) == [["mine", "also mine", "r32"], 50, "r79"]


def test_a_job_of_a_run_is_adopted_once_even_when_it_is_deleted(tmp_path: Path) -> None:
    code = """
    const { book } = await import("./jobs.js");
    const theirs = Array.from({ length: 80 }, (_, at) => `r${at}`);
    book.adopt(theirs);
    await rest();
    const first = asked;
    for (let each = 0; each < 3; each += 1) book.adopt(theirs);
    await rest();
    tell([first, asked - first]);
    """
    assert run(tmp_path, code) == [50, 0]


def test_a_script_that_is_gone_is_neither_sent_nor_kept(tmp_path: Path) -> None:
    code = """
    const scripts = await import("./scripts.js");
    scripts.chooseScript("txt2img", "gone");
    const before = scripts.chosenScript("txt2img")?.script;
    answer = { ok: true, status: 200, body: { scripts: [{ name: "here", title: "Here", options: [] }] } };
    await scripts.loadScripts();
    const sent = scripts.chosenScript("txt2img");
    scripts.forgetGone("txt2img");
    tell([before, sent, [...kept.values()].join().includes("gone")]);
    """
    assert run(tmp_path, code) == ["gone", None, False]
