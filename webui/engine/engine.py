"""The engine as the worker sees it: jobs in, events out, one checkpoint in memory.

Turns every failure that has words for a person into a `Failed` event; faults of the program itself are raised.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from webui.contract import EngineInfo, Job, SignalSource, Tuning
from webui.engine import memory
from webui.engine.attention import fastest_attention
from webui.engine.device import Device, pick_device
from webui.engine.embeddings import EmbeddingShelf
from webui.engine.extensions import EngineExtensions
from webui.engine.generation import Generation, Helpers
from webui.engine.loading import load_checkpoint, with_vae
from webui.engine.models import Components, ModelCache
from webui.engine.receipt import Receipt
from webui.engine.stopwatch import Stopwatch
from webui.engine.upscaling import Upscalers
from webui.engine.upscaling.job import UpscaleJob
from webui.errors import CheckpointError, UnknownName, UserError
from webui.events import Event, Failed, Progress, Started
from webui.extensions.shelf import Shelf
from webui.library import Library, Passport
from webui.model_requests import ConvertModel, MergeModels, ModelRequest
from webui.requests import PictureRequest
from webui.sentences import Sentence
from webui.upscale_request import Upscale
from webui.upscalers import SHELF as UPSCALERS
from webui.upscalers import upscaler_files

log = logging.getLogger(__name__)


def create_engine(
    models_dir: Path, device: str, worker: int = 0, shelf: Shelf | None = None, *, library: Library | None = None
) -> "PictureEngine":
    """An engine that draws with the checkpoints in `models_dir`/checkpoints on "auto", "cpu", "cuda" or "cuda:N".

    `shelf`: the extensions. `library`: the models, where there are others than those. Several workers take the cards
    in turn. Raises `CannotStart` for a device that is not there.
    """
    chosen = pick_device(device, worker)
    models = library or Library(models_dir / "checkpoints")
    embeddings = EmbeddingShelf(
        models_dir / "embeddings", lambda: [item.path for item in models.shelf("embeddings", again=True).values()]
    )
    upscalers = Upscalers(lambda: upscaler_files(models.shelf(UPSCALERS, again=True)), chosen)
    attention = fastest_attention(chosen.torch_device)
    extensions = EngineExtensions(shelf, models_dir, models)
    return PictureEngine(
        models, chosen, attention, embeddings, upscalers=upscalers, extensions=extensions, models_dir=models_dir
    )


class PictureEngine:
    """Implements `contract.Engine`; one job at a time."""

    def __init__(
        self,
        library: Library,
        device: Device,
        attention: str,
        embeddings: EmbeddingShelf | None = None,
        *,
        upscalers: Upscalers,
        extensions: EngineExtensions | None = None,
        models_dir: Path = Path(),
    ) -> None:
        """`models_dir`: where merged and converted models go."""
        self._library = library
        self._models_dir = models_dir
        self._upscalers = upscalers
        self._device = device
        self._attention = attention
        self._extensions = extensions or EngineExtensions(None, Path(), library)
        self._tuning = Tuning()
        self._models = ModelCache(
            lambda passport: load_checkpoint(passport, device, attention, embeddings),
            load_vae=lambda path, components: with_vae(components, path, device),
            available=lambda: memory.available(device.torch_device),
        )

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        """Yield the job's events; the last is one of `events.FINAL`. Raises only for faults of the program."""
        request = job.request
        if isinstance(request, Upscale):
            yield from self._upscale(job, request, signal)
            return
        if isinstance(request, ModelRequest):
            yield from self._forge(request, signal)
            return
        if not isinstance(request, PictureRequest):
            raise TypeError(f"This engine makes pictures; it was given {request.kind}.")
        yield Started(pictures=request.pictures)
        try:
            yield from self._generate(job, request, signal)
        except UserError as error:
            yield _failed(error)
        except (RuntimeError, MemoryError) as error:
            shortage = memory.out_of_memory(error, (request.width, request.height))
            if shortage is None:
                raise
            yield _failed(shortage)

    def _upscale(self, job: Job, request: Upscale, signal: SignalSource) -> Iterator[Event]:
        yield Started(pictures=request.pictures)
        try:
            yield from UpscaleJob(job, request, self._upscalers, signal).events()
        except UserError as error:
            yield _failed(error)

    def _forge(self, request: ModelRequest, signal: SignalSource) -> Iterator[Event]:
        yield Started(pictures=0)
        from webui.engine.forge.job import ForgeJob  # pictures need none of it

        assert isinstance(request, MergeModels | ConvertModel)
        try:
            self._library.refresh()
            yield from ForgeJob(request, self._library, self._models_dir, signal).events()
        except UserError as error:
            yield _failed(error)

    def _generate(self, job: Job, request: PictureRequest, signal: SignalSource) -> Iterator[Event]:
        stopwatch, receipt = Stopwatch(), Receipt()
        passport = self._find(request.checkpoint)
        if not self._models.holds(passport):
            yield _loading(request)
        with stopwatch.phase("loading"):
            components = self._load(passport, self._vae(request.vae), receipt)
            model_hash = passport.hash
        attention, device = self._attention, self._device.name
        receipt.note(Sentence("Drawn on {device} with the attention {attention}.", device=device, attention=attention))
        helpers = Helpers(
            lambda name: self._load(self._find(name), None, receipt), self._upscalers, receipt, self._tuning
        )
        extensions = self._extensions.begin(job, request, components, stopwatch, receipt, self.free_memory)
        yield from Generation(job, request, components, model_hash, signal, stopwatch, helpers, extensions).events()

    def _load(self, passport: Passport, vae: Path | None, receipt: Receipt) -> Components:
        """From memory or disk; the receipt tells what took time."""
        was_there, begin = self._models.holds(passport), time.monotonic()
        components = self._models.get(passport, vae)
        if not was_there:
            seconds = f"{time.monotonic() - begin:.1f}"
            told = Sentence("Checkpoint '{name}' was loaded in {seconds} s.", name=passport.name, seconds=seconds)
            receipt.note(told)
        if vae is not None:
            receipt.note(Sentence("The VAE {name} stood in for the checkpoint's own.", name=vae.name))
        return components

    def _vae(self, name: str) -> Path | None:
        """Where the autoencoder of that name lies; None for "", the checkpoint's own. Raises `UserError`."""
        if not name:
            return None
        shelf = self._library.shelf("vae", again=True)
        if name not in shelf:
            raise UnknownName("VAE", name, shelf)
        found = shelf[name]
        if found.problem is not None:
            raise CheckpointError("VAE '{name}' cannot be used: {problem}", name=name, problem=found.problem)
        return found.path

    def _find(self, name: str) -> Passport:
        """The passport of a checkpoint; the folder is looked at again unless the one in memory is still the same."""
        loaded = self._models.loaded
        if loaded is not None and loaded.name == name and self._models.holds(passport := self._library.find(name)):
            return passport
        self._library.refresh()
        return self._library.find(name)

    def warm_up(self, checkpoint: str) -> None:
        """Load a checkpoint ahead of the first job. A bad one is left for the job to tell."""
        try:
            self._models.get(self._find(checkpoint))
        except UserError as error:
            log.warning("checkpoint %s was not loaded ahead: %s", checkpoint, error)
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            log.warning("checkpoint %s does not fit into memory", checkpoint)

    def tune(self, tuning: Tuning) -> None:
        """Take over what a person has set."""
        self._tuning = tuning
        self._models.share = tuning.model_memory

    def unload(self) -> None:
        self.free_memory()

    def free_memory(self) -> None:
        """Forget the models in memory; the next job loads them again."""
        self._upscalers.clear()
        self._extensions.clear()
        self._models.clear()

    @property
    def loaded(self) -> Components | None:
        """The checkpoint that was used last, if it is still in memory."""
        return self._models.loaded

    def info(self) -> EngineInfo:
        loaded = self._models.loaded
        return EngineInfo(
            device=str(self._device.torch_device),
            device_name=self._device.name,
            attention=self._attention,
            checkpoint=loaded.name if loaded else None,
            models=self._models.sizes,
            memory=memory.of_card(self._device.torch_device),
            for_a_job=memory.whole(self._device.torch_device),
        )


def _loading(request: PictureRequest) -> Progress:
    return Progress(phase="loading", picture=0, pictures=request.pictures, step=0, total=request.num_inference_steps)


def _failed(error: UserError) -> Failed:
    log.info("job failed: %s: %s", error.kind, error)
    return Failed(error=error.kind, text=error.sentence)
