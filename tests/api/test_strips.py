"""Steps of pictures over REST, and branches submitted there."""

import io

from fastapi.testclient import TestClient
from PIL import Image

from tests.api.test_v1 import finished, submit


def test_the_steps_of_a_picture_are_listed_and_downloaded(client: TestClient) -> None:
    picture = finished(client, submit(client, prompt="a cat", preview="Linear")["id"])["pictures"][0]
    answer = client.get(f"{picture['url']}/steps").json()
    steps = answer["steps"]
    assert (answer["total"], answer["last_branch"]) == (4, 3)
    assert [each["step"] for each in steps] == [1, 2, 3, 4]
    assert steps[0]["preview"].startswith("data:image/jpeg;base64,")
    answer = client.get(f"{picture['url']}/steps.gif?fps=4")
    assert answer.headers["content-type"] == "image/gif"
    assert 'filename="steps.gif"' in answer.headers["content-disposition"]
    assert Image.open(io.BytesIO(answer.content)).n_frames == 5


def test_the_steps_say_how_many_there_are_and_from_which_a_branch_is_possible(client: TestClient) -> None:
    client.patch("/api/v1/options", json={"preview_every": 3})
    values = {"prompt": "a cat", "preview": "Linear", "num_inference_steps": 8, "hires": True, "hires_steps": 3}
    picture = finished(client, submit(client, **values)["id"])["pictures"][0]
    answer = client.get(f"{picture['url']}/steps").json()
    assert (answer["total"], answer["last_branch"]) == (11, 7)
    assert answer["steps"][-1]["step"] <= 11


def test_what_is_not_there_is_said(client: TestClient) -> None:
    assert client.get("/api/v1/pictures/unknown/steps").json()["steps"] == []
    assert client.get("/api/v1/pictures/unknown/steps.gif").status_code == 404
    picture = finished(client, submit(client)["id"])["pictures"][0]
    refused = client.get(f"{picture['url']}/steps.avi")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "UnknownName")
    assert client.get(f"{picture['url']}/steps.gif?fps=0").status_code == 422


def test_a_branch_takes_the_whole_request_of_a_job(client: TestClient) -> None:
    before = finished(client, submit(client, prompt="a cat")["id"])["request"]
    job = submit(client, **{**before, "prompt": "a dog", "branch_step": 2, "branch_from": before})
    assert job["request"]["branch_from"] == {"prompt": "a cat"}
    refused = client.post(
        "/api/v1/jobs", json={"values": {**before, "width": 256, "branch_step": 2, "branch_from": before}}
    )
    assert refused.status_code == 422
    assert "A branch keeps Width as it was" in refused.json()["error"]["text"]
