"""Runs of scripts over HTTP: what scripts there are, plan, submit, look at, pause, resume, cancel."""

from typing import Any

from fastapi.testclient import TestClient

from tests.farm import wait_until

VALUES = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 3, "seed": 7}
STEPS = {"x_axis": "num_inference_steps", "x_values": "2, 3"}


def body(options: dict[str, Any] = STEPS, **more: Any) -> dict[str, Any]:
    return {"script": "xyz_plot", "kind": "txt2img", "values": VALUES, "options": options, **more}


def test_scripts_say_what_they_can_be_told(client: TestClient) -> None:
    scripts = {script["name"]: script for script in client.get("/api/v1/scripts").json()["scripts"]}
    assert {"xyz_plot", "prompt_matrix", "prompts_from_file", "loopback"} <= scripts.keys()
    assert scripts["loopback"]["kinds"] == ["img2img", "inpaint"]
    plot = scripts["xyz_plot"]
    assert plot["choices"]["txt2img"]["x_axis"]["hires_strength"] == "Hires denoising strength"
    assert "hires_strength" not in plot["choices"]["img2img"]["x_axis"]
    margin = next(option for option in plot["options"] if option["name"] == "margin")
    assert (margin["type"], margin["default"], margin["maximum"]) == ("int", 0, 500)


def test_a_run_goes_from_its_plan_to_its_grid(client: TestClient) -> None:
    assert client.post("/api/v1/runs/plan", json=body()).json()["pictures"] == 2
    answer = client.post("/api/v1/runs", json=body(key="one"))
    assert answer.status_code == 201
    run_id = answer.json()["id"]
    assert client.post("/api/v1/runs", json=body(key="one")).json()["id"] == run_id
    wait_until(lambda: client.get(f"/api/v1/runs/{run_id}").json()["state"] == "done", "the run to be done")
    run = client.get(f"/api/v1/runs/{run_id}").json()
    assert client.get(run["pictures"][0]["url"]).headers["content-type"] == "image/png"
    assert [each["id"] for each in client.get("/api/v1/runs", params={"state": "done"}).json()["runs"]] == [run_id]
    assert client.get("/api/v1/runs", params={"state": "paused"}).json()["runs"] == []


def test_a_run_is_told_things(client: TestClient) -> None:
    long = body({"x_axis": "seed", "x_values": "1-30"}, values={**VALUES, "num_inference_steps": 40})
    run_id = client.post("/api/v1/runs", json=long).json()["id"]
    for action, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert client.post(f"/api/v1/runs/{run_id}/{action}").json()["state"] == state
    assert client.post(f"/api/v1/runs/{run_id}/pause").status_code == 409
    assert client.post("/api/v1/runs/nothing/pause").status_code == 404


def test_what_is_wrong_is_said_in_words(client: TestClient) -> None:
    wrong = client.post("/api/v1/runs", json=body({"x_axis": "num_inference_steps", "x_values": "many"}))
    assert wrong.status_code == 422
    assert wrong.json()["error"]["template"].startswith("'{value}' is not {wanted}")
    assert client.post("/api/v1/runs", json=body(colour="red")).status_code == 422


def test_an_option_is_filled_with_everything_possible(client: TestClient) -> None:
    asked = {"kind": "txt2img", "option": "x_values", "options": {"x_axis": "checkpoint"}}
    assert client.post("/api/v1/scripts/xyz_plot/fill", json=asked).json() == {"value": "one"}
    assert client.post("/api/v1/scripts/xyz_plot/fill", json={**asked, "option": "margin"}).status_code == 422


def test_extensions_bring_their_words_along(client: TestClient) -> None:
    assert client.get("/api/v1/words/ko").json()["X/Y/Z plot"] == "X/Y/Z 플롯"
    assert client.get("/api/v1/words/xx").json() == {}
