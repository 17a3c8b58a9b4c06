"""One job from loaded components to finished pictures, as events.

Owns the order of things: batches, pictures, their row of passes, signals between steps, saved states. What a pass is
made of is known to `passes`, how a step or a picture is made to `denoise` and `vae` alone.
"""

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import torch

from webui import __version__
from webui.contract import Job, Signal, SignalSource
from webui.engine import state as states
from webui.engine.beginning import Beginning, beginning_of
from webui.engine.branching import branched, with_other_noise
from webui.engine.denoise import DenoiseStep, Plan, SamplerState, denoise
from webui.engine.extensions import Runner
from webui.engine.hires import check_upscaler, enlarged
from webui.engine.latents import finished_latents
from webui.engine.models import Components
from webui.engine.passes import Pass, passes_of
from webui.engine.prediction import GuidedDenoiser
from webui.engine.previews import Previewer, previewer
from webui.engine.receipt import Receipt
from webui.engine.state import SavedJob, UnreadableState
from webui.engine.stopwatch import Stopwatch
from webui.engine.text import PlannedPrompts
from webui.engine.tiling import tiled
from webui.engine.upscaling import Upscalers
from webui.engine.vae import decode
from webui.events import Cancelled, Checkpoint, Done, Event, Image, Paused, Progress, Warning
from webui.extension import Step
from webui.metadata import encode_png, infotext
from webui.requests import PictureRequest, TextToImage
from webui.sentences import Sentence

SECONDS_BETWEEN_CHECKPOINTS = 1.0

Outcome = Generator[Event, None, Signal | None]
"""Events of a part of the job; it returns the signal that ended it early, or None."""
Walked = Generator[Event, None, tuple[Signal | None, SamplerState]]
"""The same, with the state it came to."""


@dataclass(frozen=True)
class Helpers:
    """What a job may need beside its own checkpoint."""

    load: Callable[[str], Components]
    """The components of another checkpoint, by name. Raises `UserError`."""
    upscalers: Upscalers
    receipt: Receipt = field(default_factory=Receipt)


def used_embeddings(prompts: Iterable[PlannedPrompts]) -> Mapping[str, object]:
    """What a picture's text says of them, as AUTOMATIC1111 writes it."""
    named = {name: embedding for each in prompts for name, embedding in each.embeddings.items()}
    hashes = ", ".join(f"{name}: {embedding.hash}" for name, embedding in named.items())
    return {"TI hashes": hashes or None}


class Generation:
    """A job under way. `events` may be walked through once."""

    def __init__(
        self,
        job: Job,
        request: PictureRequest,
        components: Components,
        model_hash: str,
        signal: SignalSource,
        stopwatch: Stopwatch,
        helpers: Helpers,
        extensions: Runner | None = None,
    ) -> None:
        self._job = job
        self._asked = request
        self._request = request
        """As extensions have prepared it."""
        self._extensions = Runner() if extensions is None else extensions
        self._components = components
        self._model_hash = model_hash
        self._signal = signal
        self._stopwatch = stopwatch
        self._helpers = helpers
        self._receipt = helpers.receipt
        self._checkpoint_at = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        self._warned: set[Sentence] = set()
        self._beginning = Beginning()
        self._used: Mapping[str, object] = {}
        """What the pictures' texts tell beside the request."""
        self._passes: tuple[Pass, ...] = ()

    def events(self) -> Iterator[Event]:
        """Everything from encoding to the final event."""
        with closing(self._extensions):
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        self._request = request = self._extensions.prepare(self._asked)
        if isinstance(request, TextToImage) and request.hires:
            check_upscaler(request, self._helpers.upscalers)
        parts = self._components
        with ExitStack() as seamless:
            if request.tiling:
                seamless.enter_context(tiled(parts))
            yield self._progress("encoding", 0, 0)
            with self._stopwatch.phase("encoding"):
                load, hold, tell = self._helpers.load, self._extensions.hold, self._receipt.note
                self._beginning = beginning_of(request, self._job.inputs, parts, tell)
                self._passes = self._row(
                    request, self._asked, lambda each: passes_of(each, parts, self._beginning, load, hold, tell)
                )
                self._used = used_embeddings(each.prompts for each in self._passes)
            for other in self._other_components() if request.tiling else ():
                seamless.enter_context(tiled(other))
            self._note_passes()
            yield from self._extensions_said()
            yield from self._unknown_tags()
            yield from self._unfit_embeddings()
            yield from self._pictures()

    def _row(
        self, request: PictureRequest, asked: PictureRequest, passes: Callable[[PictureRequest], tuple[Pass, ...]]
    ) -> tuple[Pass, ...]:
        """The passes of `asked`, which extensions have prepared as `request`, and of what it branches from."""
        own = passes(request)
        if (origin := asked.origin) is None:
            return own
        return branched(self._row(self._extensions.prepare(origin), origin, passes), own, request.branch_step)

    def _other_components(self) -> Iterable[Components]:
        """What passes draw with beside the job's own checkpoint, each once."""
        others = {id(each.components): each.components for each in self._passes}
        others.pop(id(self._components), None)
        return others.values()

    def _pictures(self) -> Iterator[Event]:
        saved, warning = self._saved()
        if warning:
            yield from self._warn(warning)
        parts = self._components
        if self._request.preview == "Small" and parts.preview_decoder is None:
            yield from self._warn(Sentence("This checkpoint brings no small decoder, so its previews are linear."))
        preview = previewer(self._request.preview, parts.vae, parts.latent_rgb, parts.preview_decoder)
        while saved.pictures:
            taken = yield from self._batch(saved, preview)
            if taken is Signal.CANCEL:
                yield Cancelled()
                return
            if taken is Signal.PAUSE:
                yield Paused()
                return
            saved = SavedJob(self._after(saved, is_skipped=taken is Signal.SKIP))
            if saved.pictures:
                yield self._checkpoint(saved)
        self._extensions.close()
        yield from self._extensions_said()
        yield Done(timings=self._stopwatch.timings(), receipt=self._receipt.sentences)

    def _note_passes(self) -> None:
        chunks = max(each.prompts.chunks for each in self._passes)
        if chunks > 1:
            self._receipt.note(
                Sentence("The prompts are longer than one reading, so they were read in {parts} parts.", parts=chunks)
            )
        for before, each in itertools.pairwise(self._passes):
            if before.is_shared and not each.is_shared:
                self._receipt.note(Sentence("Went on from step {step} of another picture.", step=before.until))
            if each.continues and each.components is not before.components:
                refiner, step = each.components.name, each.before + before.until
                told = Sentence("The refiner '{name}' took over after step {step}.", name=refiner, step=step)
                self._receipt.note(told)

    def _unknown_tags(self) -> Iterator[Event]:
        tags = [tag for each in self._passes for tag in each.prompts.tags]
        for tag in (tag for tag in tags if not self._extensions.knows(tag)):
            written = f"<{tag.kind}:{tag.name}>"
            yield from self._warn(
                Sentence("“{tag}” in the prompt has no effect: nothing here knows such tags.", tag=written)
            )

    def _unfit_embeddings(self) -> Iterator[Event]:
        for name, problem in (item for each in self._passes for item in each.prompts.unfit_embeddings.items()):
            yield from self._warn(Sentence("The embedding '{name}' has no effect: {why}", name=name, why=problem))

    def _saved(self) -> tuple[SavedJob, Sentence | None]:
        """Where to begin, and a warning when the job's state is of no use."""
        beginning = SavedJob(self._together(0))
        if self._job.state is None:
            return beginning, None
        try:
            saved = states.load(self._job.state, self._components.device)
            if saved.sampler is not None:
                if not 0 <= saved.number < len(self._passes):
                    raise UnreadableState("the state belongs to another row of passes")
                self._passes[saved.number].check(saved.sampler, len(saved.pictures))
            if saved.sampler is None and saved.pictures:
                saved = SavedJob(self._together(saved.pictures[0]))
        except UnreadableState:
            return beginning, Sentence(
                "The saved state of this job could not be read, so it was started from the beginning."
            )
        return saved, None

    def _together(self, picture: int) -> tuple[int, ...]:
        """The pictures that are made at once, from `picture` on; none when all are made.

        On the CPU always one: batching gains nothing there, and matrices of another shape round otherwise, so that
        a picture of a batch would not be the picture of its seed to the last bit.
        """
        if picture >= self._request.pictures:
            return ()
        if self._components.device.type == "cpu" or any(each.sampler.is_adaptive for each in self._passes):
            return (picture,)
        return tuple(range(picture, self._batch_end(picture)))

    def _batch_end(self, picture: int) -> int:
        return (picture // self._request.batch_size + 1) * self._request.batch_size

    def _after(self, saved: SavedJob, *, is_skipped: bool) -> tuple[int, ...]:
        last = saved.pictures[-1]
        return self._together(self._batch_end(last) if is_skipped else last + 1)

    def _batch(self, saved: SavedJob, preview: Previewer) -> Outcome:
        """Take the pictures that are made together through all passes, from where they are, and decode them."""
        # Cancelling is looked at between steps only: a model call cannot be interrupted half-way.
        taken = yield from self._heed(saved)
        if taken is not None:
            return taken
        state = saved.sampler
        latents: torch.Tensor | None = None
        for number in range(saved.number, len(self._passes)):
            current = self._passes[number]
            if number > saved.number and state is not None and not current.continues:
                latents, state = (yield from self._enlarge(saved.pictures, state, number)), None
            self._extensions.hold(current.components, current.prompts.tags)
            hooks = self._extensions or None
            with closing(current.denoiser(len(saved.pictures), hooks)) as denoiser:
                seeds = [current.seeds(each) for each in saved.pictures]
                plan = replace(current.plan(seeds, denoiser, latents), hooks=hooks)
                if state is not None and number > saved.number:
                    before = [self._passes[number - 1].seeds(each) for each in saved.pictures]
                    self._extensions.step = _step(state, current, saved.pictures)
                    denoiser.begin_step(state.index + 1)
                    state = with_other_noise(state, plan, before, seeds)
                begun = SavedJob(saved.pictures, state or plan.first_state(), number)
                taken, state = yield from self._walk(begun, plan, denoiser, preview)
            if taken is not None:
                return taken
        assert state is not None
        yield from self._decode(saved.pictures, state)
        if saved.pictures[-1] + 1 == self._batch_end(saved.pictures[-1]):
            # A skip that came while the batch was being decoded meant this batch; cancel and pause stay to be heeded.
            self._signal()
        return None

    def _walk(self, saved: SavedJob, plan: Plan, denoiser: GuidedDenoiser, preview: Previewer) -> Walked:
        """Make the steps of one pass."""
        state, current = saved.sampler, self._passes[saved.number]
        assert state is not None
        steps = denoise(plan, state)
        while True:
            self._extensions.step = _step(state, current, saved.pictures)
            denoiser.begin_step(state.index + 1)
            with self._stopwatch.phase("sampling"):
                step = next(steps, None)
            if step is None:
                return None, state
            state = step.state
            yield from self._extensions_said()
            yield from self._after_step(saved.pictures, step, current, preview)
            taken = yield from self._heed(SavedJob(saved.pictures, state, saved.number))
            if taken is not None:
                return taken, state

    def _enlarge(
        self, pictures: tuple[int, ...], state: SamplerState, number: int
    ) -> Generator[Event, None, torch.Tensor]:
        """What pass `number` begins with, out of the last state of the one before."""
        request, before = self._request, self._passes[number - 1]
        assert isinstance(request, TextToImage)
        yield self._progress("upscaling", pictures[0], self._passes[number].before)
        with self._stopwatch.phase("decoding"):
            latents = finished_latents(state.x, before.sigmas[-1])
            larger = enlarged(latents, request, self._components, self._helpers.upscalers)
        size, upscaler = "{}×{}".format(*request.hires_sizes[1]), request.hires_upscaler
        self._receipt.note(
            Sentence("Enlarged to {size} with {upscaler}, then drawn again.", size=size, upscaler=upscaler)
        )
        for warning in larger.warnings:
            yield from self._warn(warning)
        return larger.latents

    def _heed(self, saved: SavedJob) -> Outcome:
        """Look whether a signal waits; PAUSE puts the state aside first."""
        taken = self._signal()
        if taken is Signal.PAUSE or (taken is None and time.monotonic() >= self._checkpoint_at):
            yield self._checkpoint(saved)
        return taken

    def _after_step(
        self, pictures: tuple[int, ...], step: DenoiseStep, current: Pass, preview: Previewer
    ) -> Iterator[Event]:
        if step.was_repeated:
            yield from self._warn(
                Sentence("Half precision gave no numbers, so the picture was drawn in full precision.")
            )
        jpeg, *others = (preview(each) for each in step.pred_original)
        progress = self._progress(current.phase, pictures[0], current.before + step.index, jpeg)
        yield replace(progress, others=tuple(others))

    def _decode(self, pictures: tuple[int, ...], state: SamplerState) -> Iterator[Event]:
        latents = finished_latents(state.x, self._passes[-1].sigmas[-1])
        for number, picture in enumerate(pictures):
            yield self._progress("decoding", picture, self._steps)
            with self._stopwatch.phase("decoding"):
                decoded = decode(self._components.vae, latents[number])
                image = self._extensions.after_decode(self._beginning.finish(decoded.image, latents[number]), picture)
                extra = {**self._used, **self._extensions.before_save(image, picture)}
                text = infotext(self._request, picture, model_hash=self._model_hash, version=__version__, extra=extra)
                png = encode_png(image, self._asked, picture, text)
            yield from self._extensions_said()
            if decoded.warning:
                yield from self._warn(decoded.warning)
            width, height = image.size
            seed = self._request.seed_of(picture)
            yield Image(picture=picture, seed=seed, width=width, height=height, png=png, parameters=text)

    @property
    def _steps(self) -> int:
        """Of all passes together."""
        return self._passes[-1].before + self._passes[-1].until if self._passes else self._request.num_inference_steps

    def _progress(self, phase: str, picture: int, step: int, jpeg: bytes | None = None) -> Progress:
        pictures = self._request.pictures
        return Progress(phase=phase, picture=picture, pictures=pictures, step=step, total=self._steps, preview=jpeg)

    def _checkpoint(self, saved: SavedJob) -> Checkpoint:
        self._checkpoint_at = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        return Checkpoint(state=states.dump(saved))

    def _extensions_said(self) -> Iterator[Event]:
        for warning in self._extensions.taken_warnings():
            yield from self._warn(warning.text, warning.extension)

    def _warn(self, told: Sentence, extension: str = "") -> Iterator[Event]:
        """The same warning once per job."""
        if told not in self._warned:
            self._warned.add(told)
            self._receipt.note(told)
            yield Warning(text=told, extension=extension)


def _step(state: SamplerState, current: Pass, pictures: tuple[int, ...]) -> Step:
    """The step that comes next, as extensions are told of it; after the last one, that one."""
    index = min(state.index, current.until - 1)
    return Step(
        index=index + 1, total=len(current.sigmas) - 1, phase=current.phase, pictures=pictures,
        sigma=current.sigmas[max(index, 0)],
    )  # fmt: skip
