"""A request as a command line and as a program that make the same pictures through /api/v1. Plain text, asks nobody."""

import json
import pprint
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

TOKEN = "EASEL_TOKEN"
"""Environment variable that holds the token, where one is asked for: no secret stands in what is copied."""


def curl(address: str, kind: str, values: Mapping[str, Any], styles: Sequence[str] = (), *, token: bool = False) -> str:
    """Submits the job; its answer names the job, and the second line follows it."""
    login = f' -H "Authorization: Bearer ${TOKEN}"' if token else ""
    body = shlex.quote(json.dumps(_body(kind, values, styles), ensure_ascii=False))
    return (
        f"curl -s {address}/api/v1/jobs{login} -H 'Content-Type: application/json' -d {body}\n"
        f"# With the id of the answer: curl -sN {address}/api/v1/jobs/ID/events{login}\n"
    )


def python(
    address: str, kind: str, values: Mapping[str, Any], styles: Sequence[str] = (), *, token: bool = False
) -> str:
    """Python 3 without packages: submits, waits and writes the pictures."""
    headers = '{"Content-Type": "application/json"}'
    login = ""
    if token:
        headers = f'{headers[:-1]}, "Authorization": "Bearer " + os.environ["{TOKEN}"]}}'
        login = "import os\n"
    body = pprint.pformat(_body(kind, values, styles), sort_dicts=False, width=110)
    return PROGRAM.format(address=address, headers=headers, login=login, body=body)


PROGRAM = """\
import json
{login}import time
import urllib.request

EASEL = "{address}"


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(EASEL + path, data, {headers})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


job = json.loads(ask("/api/v1/jobs", {body}))
while job["state"] not in ("done", "failed", "cancelled"):
    time.sleep(0.5)
    job = json.loads(ask("/api/v1/jobs/" + job["id"]))
if job["error"]:
    raise SystemExit(job["error"]["text"])
for picture in job["pictures"]:
    with open(f"{{picture['number']:05d}}-{{picture['seed']}}.png", "wb") as file:
        file.write(ask(picture["url"]))
"""


def _body(kind: str, values: Mapping[str, Any], styles: Sequence[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"kind": kind, "values": dict(values)}
    return {**body, "styles": list(styles)} if styles else body
