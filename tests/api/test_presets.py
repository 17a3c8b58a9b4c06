"""/presets and /drafts: kept under names, taken over whole, bounded, and never fatal when their files are broken."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from webui import drafts as drafts_module
from webui import presets as presets_module
from webui.app import App
from webui.drafts import Drafts
from webui.errors import CannotSaveSettings, InvalidRequest, UserError
from webui.presets import Preset, Presets, read_presets

V1 = "/api/v1"
FAST = {"name": "fast", "tab": "txt2img", "values": {"num_inference_steps": 8, "sampler": "LCM", "hires": False}}


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [preset["name"] for preset in answer.json()["presets"]]


@pytest.fixture(autouse=True)
def none_at_first(app: App) -> Iterator[None]:
    yield
    for preset in app.presets.all():
        app.presets.delete(preset.tab, preset.name)


def test_a_preset_is_kept_replaced_renamed_and_deleted(client: TestClient, app: App) -> None:
    assert names(client.put(f"{V1}/presets", json=FAST)) == ["fast"]
    assert names(client.put(f"{V1}/presets", json={**FAST, "name": "other"})) == ["fast", "other"]
    assert names(client.put(f"{V1}/presets", json={**FAST, "values": {"seed": 3}})) == ["fast", "other"]
    assert Presets(app.settings.data_dir / "presets.json").all() == app.presets.all()
    assert app.presets.all()[0].values == {"seed": 3}
    move = {"tab": "txt2img", "name": "fast", "to": "빠르게"}
    assert names(client.post(f"{V1}/presets/rename", json=move)) == ["빠르게", "other"]
    assert client.post(f"{V1}/presets/rename", json=move).status_code == 404
    taken = {"tab": "txt2img", "name": "other", "to": "빠르게"}
    assert client.post(f"{V1}/presets/rename", json=taken).status_code == 409
    assert names(client.delete(f"{V1}/presets?tab=txt2img&name=other")) == ["빠르게"]
    assert client.delete(f"{V1}/presets?tab=img2img&name=빠르게").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a\nb"}, {"name": "x" * 81}, {"tab": "train"}, {"values": {}}, {"values": {"a": [1]}},
        {"values": {"a": "x" * 20_001}}, {"values": {str(n): n for n in range(301)}}, {"more": 1},
        {"values": {"a": None}}, {"checkpoint": "x" * 301}, {"values": {"a": "\ud800"}}, {"values": {"\ud800": 1}},
        {"checkpoint": "\ud800"},
    ],
)  # fmt: skip
def test_what_is_no_preset_is_refused(client: TestClient, app: App, wrong: dict[str, Any]) -> None:
    assert client.put(f"{V1}/presets", content=json.dumps({**FAST, **wrong})).status_code == 422
    assert app.presets.all() == []


def test_a_checkpoint_has_one_preset_for_each_form(client: TestClient) -> None:
    own = {**FAST, "checkpoint": "one"}
    client.put(f"{V1}/presets", json={**own, "name": "a"})
    client.put(f"{V1}/presets", json={**own, "name": "b", "tab": "img2img"})
    assert names(client.put(f"{V1}/presets", json={**own, "name": "c"})) == ["b", "c"]


def test_what_is_exported_can_be_imported(client: TestClient, app: App) -> None:
    client.put(f"{V1}/presets", json=FAST)
    file = client.get(f"{V1}/presets/file").json()
    app.presets.delete("txt2img", "fast")
    assert names(client.post(f"{V1}/presets/file", json=file)) == ["fast"]
    assert names(client.post(f"{V1}/presets/file", json=file)) == ["fast"]


@pytest.mark.parametrize(
    "file",
    [{}, {"presets": 3}, {"presets": [3]}, {"presets": [FAST, {**FAST, "tab": "x"}]}, {"presets": [{**FAST, "x": 1}]}],
)
def test_a_wrong_import_adds_none(client: TestClient, app: App, file: dict[str, Any]) -> None:
    assert client.post(f"{V1}/presets/file", json=file).status_code == 422
    assert app.presets.all() == []


@pytest.mark.parametrize("content", ["", "[]", '{"presets": [1]}', '{"presets": [{"name": "x"}]}', "[" * 99_999])
def test_a_broken_presets_file_is_kept_and_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "presets.json"
    path.write_text(content)
    presets = Presets(path)
    assert presets.all() == []
    assert "kept as presets.broken-" in str(presets.warning)
    presets.save(read_presets({"presets": [FAST]}))
    assert [kept.read_text() for kept in tmp_path.glob("*.broken-*")] == [content]


def test_there_are_not_more_presets_than_can_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets_module, "MOST_PRESETS", 2)
    presets = Presets(tmp_path / "presets.json")
    with pytest.raises(InvalidRequest, match="2 presets at most"):
        presets.save(Preset(name=str(n), tab="txt2img", values={"seed": n}) for n in range(3))
    assert presets.all() == []


# Drafts.

CLIENT = "0123456789abcdef" * 2


def test_another_browser_can_go_on_with_a_draft(client: TestClient) -> None:
    forms = {"txt2img": {"prompt": "빨간 사과", "seed": 3, "styles": ["x"]}, "img2img": {"strength": 0.5}}
    answer = client.put(f"{V1}/drafts/{CLIENT}", json={"name": "Chrome, Linux", "forms": forms})
    assert answer.status_code == 200
    (told,) = client.get(f"{V1}/drafts").json()["drafts"]
    assert (told["client"], told["summary"], told["forms"]) == (CLIENT, "빨간 사과", ["txt2img", "img2img"])
    assert client.get(f"{V1}/drafts/{CLIENT}").json()["forms"] == forms
    assert client.delete(f"{V1}/drafts/{CLIENT}").status_code == 200
    assert client.get(f"{V1}/drafts/{CLIENT}").status_code == 404
    assert client.get(f"{V1}/drafts").json() == {"drafts": []}


@pytest.mark.parametrize("name", ["x", "..%2F..%2Foptions", "A" * 32, "0" * 33, "0123456789abcde/"])
def test_only_an_id_names_a_draft(client: TestClient, app: App, name: str) -> None:
    assert client.put(f"{V1}/drafts/{name}", json={"forms": {}}).status_code in (404, 405, 422)
    assert app.drafts.all() == []


def test_drafts_are_bounded_and_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts_module, "MOST_DRAFTS", 2)
    drafts = Drafts(tmp_path)
    for number in range(3):
        drafts.save(f"{number}" * 32, "", {"txt2img": {"seed": number}})
        os.utime(tmp_path / f"{str(number) * 32}.json", (number, number))
    assert {draft.client[0] for draft in drafts.all()} == {"1", "2"}
    with pytest.raises(InvalidRequest, match="too large"):
        drafts.save(CLIENT, "", {"txt2img": {"prompt": "x" * 300_000}})
    with pytest.raises(InvalidRequest, match="plain"):
        drafts.save(CLIENT, "", {"txt2img": {"seed": float("nan")}})


def test_a_damaged_draft_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / f"{CLIENT}.json").write_text('{"forms": 3}')
    (tmp_path / "notes.json").write_text(json.dumps({"name": "", "saved": 1, "forms": {}}))
    assert Drafts(tmp_path).all() == []


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for save in (
        lambda: Drafts(tmp_path / "file" / "drafts").save(CLIENT, "", {}),
        lambda: Presets(tmp_path / "file" / "presets.json").save(read_presets({"presets": [FAST]})),
    ):
        with pytest.raises(CannotSaveSettings):
            save()
    assert issubclass(CannotSaveSettings, UserError)


def test_half_a_surrogate_pair_in_a_draft_is_refused_and_spoils_no_list(client: TestClient, app: App) -> None:
    for wrong in (
        {"name": "\ud800", "forms": {}}, {"forms": {"txt2img": {"prompt": "\ud800"}}},
        {"forms": {"txt2img": {"x": [{"\ud800": 1}]}}},
    ):  # fmt: skip
        sent = client.put(f"{V1}/drafts/{CLIENT}", content=json.dumps(wrong))
        assert sent.status_code == 422
    stored = app.settings.data_dir / "drafts" / f"{CLIENT}.json"
    stored.parent.mkdir(exist_ok=True)
    stored.write_text(json.dumps({"name": "\ud800", "saved": 1, "forms": {}}), "ascii")
    assert client.get(f"{V1}/drafts").status_code == 200
    stored.unlink()
