"""What every kind of request has in common: strictness, checked choices, a seed that is drawn once.

The kinds themselves are in `requests.py` (pictures) and `train_requests.py` (training).
"""

import dataclasses
import secrets
from collections.abc import Iterable
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import UnknownName
from webui.params import parameters
from webui.registry import CHOICES

STRICT = ConfigDict(extra="forbid", strict=True)

MAX_SEED = 2**32 - 1

PictureId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""Of an uploaded picture: see `inputs.py`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Base of all requests. A request that exists is possible: validation happens in the constructor alone."""

    kind: ClassVar[str]
    """Name of the kind of job, a key of `requests.REQUESTS`."""
    is_training: ClassVar[bool] = False
    """Whether it runs for minutes or hours in a folder of its own, instead of making pictures."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, declared in parameters(type(self)).items():
            what = declared.param.choices
            if what and getattr(self, name) not in CHOICES[what]:
                raise UnknownName(what, str(getattr(self, name)), map(str, CHOICES[what]))
        return self

    @property
    def model(self) -> str:
        """Name of the checkpoint that has to be in memory; "" when there is none."""
        return str(getattr(self, "checkpoint", ""))

    @property
    def pictures(self) -> int:
        """How many pictures it makes."""
        return 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Ids of the uploaded pictures that it needs (`inputs.py`)."""
        return ()

    @property
    def summary(self) -> str:
        """One line by which a person recognises it in the queue."""
        return self.kind

    def resolved(self) -> Self:
        """The same request with nothing left open: seed -1 becomes a random number."""
        if getattr(self, "seed", 0) >= 0:
            return self
        return dataclasses.replace(self, seed=secrets.randbelow(MAX_SEED + 1))  # type: ignore[call-arg]


def of_kinds(types: Iterable[type[Request]]) -> dict[str, type[Request]]:
    """The request types by their kind."""
    return {request_type.kind: request_type for request_type in types}
