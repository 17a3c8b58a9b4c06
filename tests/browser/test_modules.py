"""Single modules of the page in a bare page: the real scripts, and a server whose answers are written here."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from webui.settings import ROOT

pytestmark = pytest.mark.browser

UI = ROOT / "webui" / "ui"
HOME = "http://easel.test/"
TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}

FORM = """
<div class="gradio-container"><div id="tab_txt2img">Form
  <button id="txt2img_fill">fill</button><button id="txt2img_save">save</button>
</div></div>
"""
START = """async ([spec, values]) => {
  const form = await import("/easel/form.js");
  const names = Object.keys(spec.fields);
  globalThis.held = { ...values };  // what Gradio's controls hold
  const list = () => names.map((name) => held[name]);
  document.getElementById("txt2img_fill").onclick = () => {
    form.fillForm("txt2img", list()).forEach((value, i) => (held[names[i]] = value));
  };
  document.getElementById("txt2img_save").onclick = () => form.saveForm("txt2img", list());
  await form.startForm(spec, list());
  globalThis.write = (changes) => form.saveForm("txt2img", Object.values(Object.assign(held, changes)));
  globalThis.step = async (name) => (await import("/easel/form-undo.js")).stepForm(name);
  globalThis.saved = () => new Promise((done) => setTimeout(done, 500));  // a moment after what is typed
}"""


def field(type_: str, default: Any, *, kept: bool = False, **more: Any) -> dict[str, Any]:
    limits = {"minimum": -1, "maximum": 10_000, "choices": None}
    return {"type": type_, "default": default, "kept": kept, "element": "", **limits, **more}


FIELDS = {
    "prompt": field("string", ""),
    "seed": field("number", -1),
    "width": field("number", 512, kept=True),
    "height": field("number", 512, kept=True),
    "guidance_scale": field("number", 7.0),
    "sampler": field("string", "Euler", kept=True, choices=["Euler", "Heun"]),
}
VALUES = {name: described["default"] for name, described in FIELDS.items()}
ORIGIN = {**VALUES, "prompt": "a cat", "seed": 7, "width": 256, "height": 128}


class Bare:
    """A page with our scripts and nothing of Gradio's; `answers` are those of the server, by path."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        page.route("**/*", self._answer)

    def open(self, body: str) -> None:
        self._body = f"<!doctype html><meta charset=utf-8><body>{body}</body>"
        self.page.goto(HOME)

    def with_form(self) -> None:
        self.open(FORM)
        self.page.evaluate(START, [{"kind": "txt2img", "fields": FIELDS, "requests": {}}, VALUES])

    def run(self, script: str) -> Any:
        """An async function's body. Names of modules stand for what they export."""
        return self.page.evaluate(f"""async () => {{
          const use = (name) => import(`/easel/${{name}}.js`);
          {script}
        }}""")

    def _answer(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        file = UI / ("assets" if path.count("/") == 2 else "") / path.removeprefix("/easel/")
        if path == "/":
            return route.fulfill(body=self._body, content_type="text/html")
        if path.startswith("/easel/") and file.is_file():
            return route.fulfill(body=file.read_text("utf-8"), content_type=TYPES[file.suffix])
        if path.startswith("/api/"):
            self.asked.append((path, route.request.post_data_json if route.request.post_data else None))
        known = path in self.answers
        return route.fulfill(
            status=200 if known else 404, body=json.dumps(self.answers.get(path)), content_type=TYPES[".json"]
        )


@pytest.fixture
def bare(new_context: Callable[..., BrowserContext]) -> Bare:
    return Bare(new_context().new_page())


def test_a_waiting_job_comes_back_with_its_branch_and_takes_away_another(bare: Bare) -> None:
    bare.with_form()
    branch = bare.run("""
      const { putBack } = await use("queue-edit"), { branchOf } = await use("branch");
      const request = { prompt: "a dog", seed: 7, variation_seed: 5, variation_strength: 0.5 };
      await putBack({ kind: "txt2img", request: { ...request, branch_step: 3, branch_from: { prompt: "a cat" } } });
      const was = branchOf("txt2img");
      await putBack({ kind: "txt2img", request });
      return [was, branchOf("txt2img"), held.prompt];
    """)
    origin = {"seed": 7, "variation_seed": 5, "variation_strength": 0.5, "prompt": "a cat"}
    assert branch == [{"branch_step": 3, "branch_from": origin}, {}, "a dog"]


def test_a_branch_brings_its_seed_and_size_whatever_is_sent_else(bare: Bare) -> None:
    bare.with_form()
    held = bare.run(f"""
      (await use("options")).takeOptions({{ send_seed: false, send_size: false }});
      const {{ putPictureIntoForm }} = await use("form"), values = {json.dumps(ORIGIN)};
      putPictureIntoForm("txt2img", values);
      await saved();
      const without = [held.prompt, held.seed, held.width, held.height];
      putPictureIntoForm("txt2img", {{ ...values, branch_step: 2, branch_from: values }});
      await saved();
      return [without, [held.prompt, held.seed, held.width, held.height]];
    """)
    assert held == [["a cat", -1, 512, 512], ["a cat", 7, 256, 128]]


def test_undo_takes_a_branch_back_with_its_values(bare: Bare) -> None:
    bare.with_form()
    steps = bare.run(f"""
      const {{ putPictureIntoForm }} = await use("form"), {{ branchOf }} = await use("branch");
      const values = {json.dumps(ORIGIN)};
      const now = () => [held.prompt, held.width, branchOf("txt2img").branch_step ?? 0];
      write({{ prompt: "mine" }});
      putPictureIntoForm("txt2img", {{ ...values, branch_step: 2, branch_from: values }});
      await saved();
      const told = [now()];
      for (const name of ["undo", "redo"]) {{
        await step(name);
        await saved();
        told.push(now());
      }}
      return told;
    """)
    assert steps == [["a cat", 256, 2], ["mine", 512, 0], ["a cat", 256, 2]]


def test_a_preset_ends_a_branch_that_cannot_keep_to_it(bare: Bare) -> None:
    bare.with_form()
    branches = bare.run("""
      const { applyPreset } = await use("presets"), { branchOf, setBranch } = await use("branch");
      setBranch("txt2img", { step: 2, from: {} });
      const told = [], look = () => told.push(branchOf("txt2img").branch_step ?? 0);
      await applyPreset({ tab: "txt2img", name: "words", values: { prompt: "a dog", width: 512 } });
      look();
      await applyPreset({ tab: "txt2img", name: "shape", values: { width: 768 } });
      look();
      document.querySelector(".easel-toast button").click();
      await saved();
      look();
      return told;
    """)
    assert branches == [2, 0, 2]


def test_a_draft_of_elsewhere_ends_a_branch_that_cannot_keep_to_it(bare: Bare) -> None:
    draft = {"client": "x", "name": "", "saved": 1, "summary": "a dog"}
    bare.answers["/api/v1/drafts"] = {"drafts": [draft]}
    bare.answers["/api/v1/drafts/x"] = {"forms": {"txt2img": {**VALUES, "prompt": "a dog", "width": 768}}}
    bare.with_form()
    assert bare.run("""
      const { openDrafts } = await use("handover"), { branchOf, setBranch } = await use("branch");
      setBranch("txt2img", { step: 2, from: {} });
      await openDrafts();
      document.querySelector("#easel_drafts li button").click();
      await saved();
      return [held.prompt, held.width, branchOf("txt2img")];
    """) == ["a dog", 768, {}]


def test_undo_brings_an_emptied_number_back_and_goes_on(bare: Bare) -> None:
    bare.with_form()
    assert bare.run("""
      const told = [];
      write({ prompt: "a" });
      write({ guidance_scale: 9 });
      write({ guidance_scale: null });
      write({ seed: 3 });
      for (let i = 0; i < 4; i += 1) {
        await step("undo");
        await saved();
        told.push([held.prompt, held.guidance_scale, held.seed]);
      }
      return told;
    """) == [["a", 9, 3], ["a", 9, -1], ["a", 7, -1], ["", 7, -1]]


def test_undo_passes_over_what_the_form_cannot_take(bare: Bare) -> None:
    bare.with_form()
    assert bare.run("""
      write({ prompt: "a" });
      write({ sampler: "Gone" });
      await new Promise((done) => setTimeout(done, 1600));  // what follows sooner is the same change
      write({ sampler: "Heun" });
      await step("undo");
      await saved();
      return [held.prompt, held.sampler];
    """) == ["a", "Euler"]


def test_the_copied_request_makes_this_picture_of_its_job_and_no_other(bare: Bare) -> None:
    bare.answers["/api/v1/snippets"] = {"curl": "curl", "python": "python"}
    bare.open("")
    bare.run("""
      const { details } = await use("details");
      const seeds = { seed: 7, variation_seed: 5, variation_strength: 0.5 };
      const request = { ...seeds, prompt: "a {cat|dog}", batch_count: 3, batch_size: 2 };
      const branch = { branch_step: 2, branch_from: { prompt: "a bird" } };
      const picture = { number: 2, seed: 7, wording: { prompt: "a dog" }, url: "/x", parameters: "" };
      const upscale = { kind: "upscale", request: { image: "x" } };
      for (const job of [{ kind: "txt2img", request: { ...request, ...branch } }, upscale]) {
        document.body.replaceChildren(...details("txt2img", { picture, job: { ...job, receipt: [] } }));
        document.querySelector("[data-code=curl]").click();
        await new Promise((done) => setTimeout(done, 200));
      }
    """)
    first, second = [body["values"] for path, body in bare.asked if path == "/api/v1/snippets"]
    assert {**first, "branch_from": 0} == {
        "prompt": "a dog", "seed": 7, "variation_seed": 7, "variation_strength": 0.5, "batch_count": 1, "batch_size": 1,
        "branch_step": 2, "branch_from": 0,
    }  # fmt: skip
    assert first["branch_from"] == {"prompt": "a bird", "seed": 7, "variation_seed": 5, "variation_strength": 0.5}
    assert second == {"image": "x"}


def test_the_strip_offers_a_branch_where_one_is_possible(bare: Bare) -> None:
    steps = [{"step": step, "preview": "data:,"} for step in (3, 6, 9)]
    bare.answers["/api/v1/pictures/x/steps"] = {"steps": steps, "total": 11, "last_branch": 7}
    bare.open("")
    told = bare.run("""
      const { Strip } = await use("strip");
      const told = [];
      globalThis.may = true;
      const strip = new Strip("light", { look() {}, branch() {}, canBranch: () => may });
      document.body.append(strip.element);
      strip.update({ id: "x", source: "data:," });
      await new Promise((done) => setTimeout(done, 300));
      const key = (name) => strip.track.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
      key("Home");
      const look = () => told.push([strip.track.getAttribute("aria-valuetext"), !strip.branch.hidden]);
      look();
      key("ArrowRight");
      look();
      key("ArrowRight");
      look();
      key("ArrowLeft");
      may = false;
      strip.update({ id: "x", source: "data:," });
      look();
      return told;
    """)
    assert told == [["Step 3 of 11", True], ["Step 6 of 11", True], ["Step 9 of 11", False], ["Step 6 of 11", False]]


@pytest.mark.parametrize(("kind", "is_offered"), [("txt2img", True), ("img2img", False)])
def test_the_gallery_offers_a_branch_of_what_it_can_make_again(bare: Bare, kind: str, is_offered: bool) -> None:
    values = {"prompt": "a cat", "seed": 7, "width": 64}
    steps = [{"step": step, "preview": "data:,"} for step in (1, 2)]
    info = {"kind": kind, "values": values, "tool": "Easel", "text": ""}
    bare.answers["/api/v1/pictures/x/steps"] = {"steps": steps, "total": 4, "last_branch": 3}
    bare.answers["/api/v1/gallery/x"] = {"name": "x.png", "bytes": 1, "info": info}
    bare.open("")
    shown = bare.run("""
      const { Lightbox } = await use("gallery-lightbox");
      const about = { prompt: "", starred: false, created: 1, width: 8, height: 8 };
      const picture = { ...about, id: "x", url: "/x", thumbnail: "/x" };
      const placeOf = (position) => ({ picture, position }), load = async (at) => (at ? null : picture);
      const list = { total: 1, load, placeOf };
      const light = new Lightbox(list, { closed() {} });
      document.body.append(light.dialog);
      await light.open(0);
      await new Promise((done) => setTimeout(done, 400));
      light.strip.track.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
      return !light.strip.branch.hidden;
    """)
    assert shown is is_offered


def test_the_log_stays_where_it_is_read(bare: Bare) -> None:
    lines = {"lines": [f"line {i}" for i in range(400)]}
    system = {
        "workers": [],
        "memory": {"total": 2, "free": 1, "server": 1, "engines": []},
        "folders": [],
        "versions": {},
        "jobs": [],
    }
    bare.answers |= {"/api/v1/system": system, "/api/v1/system/log": lines}
    bare.open("<style>pre { height: 200px; overflow: auto; }</style>")
    told = bare.run("""
      (await use("system")).define();
      document.body.append(document.createElement("easel-system"));
      const log = document.querySelector("#system_log_text"), press = async () => {
        document.querySelector("#system_log").click();
        await new Promise((done) => setTimeout(done, 300));
      };
      await press();
      const first = log.scrollTop + log.clientHeight >= log.scrollHeight - 1;
      log.scrollTop = 50;
      await press();
      return [first, log.scrollTop];
    """)
    assert told == [True, 50]


def test_a_choice_leaves_the_form_of_a_merge_as_it_is(bare: Bare) -> None:
    def parameter(name: str, type_: str = "str", choices: list[str] | None = None) -> dict[str, Any]:
        return {
            "name": name,
            "type": type_,
            "choices": choices,
            "default": choices[0] if choices else "",
            "required": False,
        }

    methods = parameter("method", choices=["Weighted sum", "Add difference", "No interpolation"])
    others = [parameter(name) for name in ("primary", "secondary", "tertiary", "discard")]
    bare.answers["/api/v1/parameters/merge-models"] = {
        "parameters": [methods, *others, parameter("precision", choices=["fp16", "fp32"])]
    }
    bare.open("")
    told = bare.run("""
      const { WorkForm } = await use("models-work");
      const form = new WorkForm(() => {}), $ = (selector) => document.querySelector(selector);
      document.body.append(form.element);
      await form.show("merge-models", {});
      const choose = (selector, value) => {
        const select = $(selector);
        select.focus();
        select.value = value;
        select.dispatchEvent(new Event("change"));
        return select === $(selector);
      };
      $("details").open = true;
      const stayed = choose("#models_precision", "fp32");
      choose("#modelmerger_interp_method", "Add difference");
      const has = Boolean($("#modelmerger_tertiary_model_name"));
      return [stayed, has, document.activeElement.id, $("details").open, $("#models_precision").value];
    """)
    assert told == [True, True, "modelmerger_interp_method", True, "fp32"]


def test_the_quick_settings_load_the_names_when_the_vae_is_added(bare: Bare) -> None:
    fields = {"vae": field("string", "")}
    bare.answers["/api/v1/models"] = {"vae": [{"name": "fine"}]}
    bare.open(FORM)
    bare.page.evaluate(START, [{"kind": "txt2img", "fields": fields, "requests": {}}, {"vae": ""}])
    assert bare.run("""
      (await use("quick")).define();
      document.body.append(document.createElement("easel-quick"));
      (await use("options")).takeOptions({ quick_settings: ["vae"] });
      await new Promise((done) => setTimeout(done, 300));
      return [...document.querySelectorAll("#setting_sd_vae option")].map((each) => each.value);
    """) == ["", "fine"]
