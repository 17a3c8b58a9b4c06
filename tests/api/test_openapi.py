"""Everything that the OpenAPI document of /api/v1 allows, and more, asked of a real app by schemathesis.

A few questions for each operation here; ten thousand with `EASEL_CASES=150 python -m pytest tests/api/test_openapi.py`.
"""

import contextlib
import os
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CASES = int(os.environ.get("EASEL_CASES", "3"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/api/v1/events/stream"
READY = "/api/v1/ready"
SETTINGS = settings(
    max_examples=CASES, deadline=None, database=None, derandomize=CASES < 10, suppress_health_check=list(HealthCheck)
)


@pytest.mark.row("A1")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["possible", "impossible"])
def test_whatever_the_document_allows_is_answered_as_it_says(client: TestClient, mode: GenerationMode) -> None:
    # The values of a job are told in full, by kinds with hundreds of fields; here any will do.
    document = client.get("/openapi.json").json()
    for name in ("Submission", "Draft", "Wanted"):
        document["components"]["schemas"][name]["properties"]["values"] = {"type": "object"}
    document["paths"] = {
        path: told for path, told in document["paths"].items() if path.startswith("/api/v1") and path != ENDLESS
    }
    schema = schemathesis.openapi.from_dict(document)
    schema.app = client.app
    asked = 0

    def ask(case: Any) -> None:
        nonlocal asked
        asked += 1
        # "Not ready" is said with 503, and one of the questions before it may have restarted the engine.
        case.call_and_validate(
            checks=[check for check in CHECKS if case.path != READY or check is not not_a_server_error]
        )

    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and "requestBody" not in document["paths"][operation.path][operation.method]:
            continue  # next to nothing can be wrong with a path, and looking for it takes long
        with contextlib.suppress(Unsatisfiable):
            SETTINGS(given(operation.as_strategy(generation_mode=mode))(ask))()
    assert asked > (50 if mode is GenerationMode.POSITIVE else 10) * CASES


def test_every_operation_tells_its_errors_and_what_it_does(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, told in operations.items():
            if path.startswith("/api/v1"):
                assert told.get("description"), f"{method} {path} says nothing of itself"
                assert {"404", "422", "403", "413"} <= told["responses"].keys(), f"{method} {path}"


def test_the_document_tells_every_field_of_every_kind(client: TestClient) -> None:
    kinds = client.get("/openapi.json").json()["components"]["schemas"]["Submission"]["properties"]["values"]["anyOf"]
    width = next(kind for kind in kinds if kind["title"] == "txt2img")["properties"]["width"]
    assert (width["type"], width["minimum"], width["maximum"], width["default"]) == ("integer", 64, 2048, 512)
    assert next(kind for kind in kinds if kind["title"] == "inpaint")["required"] == ["image"]
