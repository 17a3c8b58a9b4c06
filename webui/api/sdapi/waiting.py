"""Waiting for a job without a thread: AUTOMATIC1111's API answers when the work is done."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from webui.app import App
from webui.errors import JobFailed
from webui.events import JobState
from webui.jobs.hub import Subscription
from webui.sentences import Sentence

LOOK_AGAIN = 30.0
"""Seconds after which the store is asked even when nothing was told."""
ENDINGS = tuple(state.value for state in JobState if state.is_final)


async def finished(app: App, job_id: str) -> dict[str, Any]:
    """The job as JSON once it is over: done, or cancelled with the pictures it had by then. Raises `JobFailed`."""
    subscription = app.hub.subscribe()
    try:
        while True:
            job = await asyncio.to_thread(app.job, job_id)
            state = JobState(job["state"])
            if state is JobState.FAILED:
                raise JobFailed(Sentence.from_json(job["error"]))
            if state.is_final:
                return job
            await _told(subscription, job_id)
    finally:
        subscription.close()


async def results(app: App, job: Mapping[str, Any]) -> list[str]:
    """The pictures of a job as base64, in order."""
    contents = [await asyncio.to_thread(app.picture_content, app.picture(each["id"])) for each in job["pictures"]]
    return [base64.b64encode(content).decode("ascii") for content in contents]


async def _told(subscription: Subscription, job_id: str) -> None:
    """Until something is said about the end of the job, or for a while."""
    try:
        async with asyncio.timeout(LOOK_AGAIN):
            async for frame in subscription:
                if frame["job"] == job_id and frame.get("state") in ENDINGS:
                    return
    except TimeoutError:
        return
