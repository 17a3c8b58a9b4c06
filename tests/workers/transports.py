"""Every transport there is; whatever is listed here must pass `test_contract.py`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from webui.workers.local import LocalWorker
from webui.workers.worker import EngineFactory, Worker

MakeWorkers = Callable[[int, EngineFactory], Sequence[Worker]]


def local_workers(count: int, engine_factory: EngineFactory) -> Sequence[Worker]:
    return [LocalWorker(f"engine {n + 1}", engine_factory, log_file=Path("easel.log")) for n in range(count)]


TRANSPORTS: Mapping[str, MakeWorkers] = {"local": local_workers}
