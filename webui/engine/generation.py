"""One job from loaded components to finished pictures, as events.

Owns the order of things: batches, pictures, signals between steps, saved states. How pictures of the same words are
made is known to `rows`, what a pass is made of to `passes`, how a step is made to `denoise`, a picture to `vae` alone.
"""

import itertools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from webui import __version__
from webui.contract import Job, Signal, SignalSource, Tuning
from webui.engine import state as states
from webui.engine.branching import with_other_noise
from webui.engine.denoise import DenoiseStep, Plan, SamplerState, denoise
from webui.engine.extensions import Runner
from webui.engine.hires import enlarged
from webui.engine.latents import finished_latents
from webui.engine.models import Components
from webui.engine.passes import Pass
from webui.engine.prediction import GuidedDenoiser
from webui.engine.previews import Previewer, previewer
from webui.engine.receipt import Receipt
from webui.engine.rows import Row, Rows
from webui.engine.state import SavedJob, UnreadableState
from webui.engine.stopwatch import Stopwatch
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
    tuning: Tuning = field(default_factory=Tuning)


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
        self._request = request
        """As it was asked for: with the templates of the prompts, before extensions."""
        self._extensions = Runner() if extensions is None else extensions
        self._components = components
        self._model_hash = model_hash
        self._signal = signal
        self._stopwatch = stopwatch
        self._helpers = helpers
        self._receipt = helpers.receipt
        self._checkpoint_at = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        self._warned: set[Sentence] = set()
        load, upscalers, tell = helpers.load, helpers.upscalers, helpers.receipt.note
        self._rows = Rows(job, request, components, load, upscalers, self._extensions, tell)
        self._row: Row | None = None
        """Of the pictures in the making."""

    def events(self) -> Iterator[Event]:
        """Everything from encoding to the final event."""
        with closing(self._extensions), closing(self._rows):
            yield from self._pictures()

    def _row_of(self, picture: int) -> Generator[Event, None, Row]:
        """How that picture is made; the first time for its words, what there is to say about them."""
        if self._row is not None and self._rows.is_made(picture):
            return self._row
        yield self._progress("encoding", picture, 0)
        with self._stopwatch.phase("encoding"):
            self._row = row = self._rows.of(picture)
        self._note_passes(row)
        yield from self._extensions_said()
        yield from self._unknown_tags(row)
        yield from self._unfit_embeddings(row)
        return row

    def _pictures(self) -> Iterator[Event]:
        saved, warning = yield from self._saved()
        if warning:
            yield from self._warn(warning)
        while saved.pictures:
            taken = yield from self._batch(saved)
            if taken is Signal.CANCEL:
                yield Cancelled()
                return
            if taken is Signal.PAUSE:
                yield Paused()
                return
            saved = SavedJob((yield from self._after(saved, is_skipped=taken is Signal.SKIP)))
            if saved.pictures:
                yield self._checkpoint(saved)
        self._extensions.close()
        yield from self._extensions_said()
        yield Done(timings=self._stopwatch.timings(), receipt=self._receipt.sentences)

    def _note_passes(self, row: Row) -> None:
        chunks = max(each.prompts.chunks for each in row.passes)
        if chunks > 1:
            self._receipt.note(
                Sentence("The prompts are longer than one reading, so they were read in {parts} parts.", parts=chunks)
            )
        for before, each in itertools.pairwise(row.passes):
            if before.is_shared and not each.is_shared:
                self._receipt.note(Sentence("Went on from step {step} of another picture.", step=before.until))
            if each.continues and each.components is not before.components:
                refiner, step = each.components.name, each.before + before.until
                told = Sentence("The refiner '{name}' took over after step {step}.", name=refiner, step=step)
                self._receipt.note(told)

    def _unknown_tags(self, row: Row) -> Iterator[Event]:
        tags = [tag for each in row.passes for tag in each.prompts.tags]
        for tag in (tag for tag in tags if not self._extensions.knows(tag)):
            written = f"<{tag.kind}:{tag.name}>"
            yield from self._warn(
                Sentence("“{tag}” in the prompt has no effect: nothing here knows such tags.", tag=written)
            )

    def _unfit_embeddings(self, row: Row) -> Iterator[Event]:
        for name, problem in (item for each in row.passes for item in each.prompts.unfit_embeddings.items()):
            yield from self._warn(Sentence("The embedding '{name}' has no effect: {why}", name=name, why=problem))

    def _saved(self) -> Generator[Event, None, tuple[SavedJob, Sentence | None]]:
        """Where to begin, and a warning when the job's state is of no use."""
        if self._job.state is None:
            return SavedJob((yield from self._together(0))), None
        try:
            saved = states.load(self._job.state, self._components.device)
            if saved.sampler is None:
                first = saved.pictures[0] if saved.pictures else self._request.pictures
                return SavedJob((yield from self._together(first))), None
            if not 0 <= saved.pictures[0] <= saved.pictures[-1] < self._request.pictures:
                raise UnreadableState("the state belongs to another number of pictures")
            row = yield from self._row_of(saved.pictures[0])
            if not 0 <= saved.number < len(row.passes):
                raise UnreadableState("the state belongs to another row of passes")
            row.passes[saved.number].check(saved.sampler, len(saved.pictures))
        except UnreadableState:
            told = Sentence("The saved state of this job could not be read, so it was started from the beginning.")
            return SavedJob((yield from self._together(0))), told
        return saved, None

    def _together(self, picture: int) -> Generator[Event, None, tuple[int, ...]]:
        """The pictures that are made at once, from `picture` on; none when all are made.

        On the CPU always one: batching gains nothing there, and matrices of another shape round otherwise, so that
        a picture of a batch would not be the picture of its seed to the last bit.
        """
        if picture >= self._request.pictures:
            return ()
        row = yield from self._row_of(picture)
        if self._components.device.type == "cpu" or any(each.sampler.is_adaptive for each in row.passes):
            return (picture,)
        return self._rows.alike(picture, self._batch_end(picture))

    def _batch_end(self, picture: int) -> int:
        return (picture // self._request.batch_size + 1) * self._request.batch_size

    def _after(self, saved: SavedJob, *, is_skipped: bool) -> Generator[Event, None, tuple[int, ...]]:
        last = saved.pictures[-1]
        return (yield from self._together(self._batch_end(last) if is_skipped else last + 1))

    def _preview(self, row: Row, current: Pass) -> Generator[Event, None, Previewer]:
        wanted, parts = row.request.preview, current.owner
        if wanted == "Small" and parts.preview_decoder is None:
            yield from self._warn(Sentence("This checkpoint brings no small decoder, so its previews are linear."))
        return previewer(wanted, parts.vae, parts.latent_rgb, parts.preview_decoder)

    def _batch(self, saved: SavedJob) -> Outcome:
        """Take the pictures that are made together through all passes, from where they are, and decode them."""
        # Cancelling is looked at between steps only: a model call cannot be interrupted half-way.
        taken = yield from self._heed(saved)
        if taken is not None:
            return taken
        row = yield from self._row_of(saved.pictures[0])
        state = saved.sampler
        latents: torch.Tensor | None = None
        for number in range(saved.number, len(row.passes)):
            current = row.passes[number]
            if number > saved.number and state is not None and not current.continues:
                latents, state = (yield from self._enlarge(saved.pictures, state, row, number)), None
            self._extensions.hold(current.components, current.prompts.tags)
            self._extensions.step = None  # until the first one, the hooks have nothing to change
            hooks = self._extensions or None
            with closing(current.denoiser(len(saved.pictures), hooks)) as denoiser:
                seeds = [current.seeds(each) for each in saved.pictures]
                plan = replace(current.plan(seeds, denoiser, latents), hooks=hooks)
                if state is not None and number > saved.number:
                    before = [row.passes[number - 1].seeds(each) for each in saved.pictures]
                    self._extensions.step = _step(state, current, saved.pictures)
                    denoiser.begin_step(state.index + 1)
                    state = with_other_noise(state, plan, before, seeds)
                begun = SavedJob(saved.pictures, state or plan.first_state(), number)
                preview = yield from self._preview(row, current)
                taken, state = yield from self._walk(begun, current, plan, denoiser, preview)
            if taken is not None:
                return taken
        assert state is not None
        yield from self._decode(saved.pictures, state, row)
        if saved.pictures[-1] + 1 == self._batch_end(saved.pictures[-1]):
            # A skip that came while the batch was being decoded meant this batch; cancel and pause stay to be heeded.
            self._signal()
        return None

    def _walk(self, saved: SavedJob, current: Pass, plan: Plan, denoiser: GuidedDenoiser, preview: Previewer) -> Walked:
        """Make the steps of one pass."""
        state = saved.sampler
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
        self, pictures: tuple[int, ...], state: SamplerState, row: Row, number: int
    ) -> Generator[Event, None, torch.Tensor]:
        """What pass `number` begins with, out of the last state of the one before."""
        request, before = row.request, row.passes[number - 1]
        assert isinstance(request, TextToImage)
        yield self._progress("upscaling", pictures[0], row.passes[number].before)
        with self._stopwatch.phase("decoding"):
            latents = finished_latents(state.x, before.sigmas[-1])
            owners = before.owner, row.passes[number].owner
            larger = enlarged(latents, request, *owners, self._helpers.upscalers)
        size, upscaler = "{}×{}".format(*request.hires_sizes[1]), request.hires_upscaler
        self._receipt.note(
            Sentence("Enlarged to {size} with {upscaler}, then drawn again.", size=size, upscaler=upscaler)
        )
        if request.hires_checkpoint:
            second = row.passes[number].components.name
            self._receipt.note(Sentence("The checkpoint '{name}' drew the second pass.", name=second))
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
        index, jpegs = current.before + step.index, tuple[bytes | None, ...]()
        if index % self._helpers.tuning.preview_every == 0:
            jpegs = tuple(preview(each) for each in step.pred_original)
        progress = self._progress(current.phase, pictures[0], index, jpegs[0] if jpegs else None)
        yield replace(progress, others=jpegs[1:])

    def _decode(self, pictures: tuple[int, ...], state: SamplerState, row: Row) -> Iterator[Event]:
        latents = finished_latents(state.x, row.passes[-1].sigmas[-1])
        for number, picture in enumerate(pictures):
            yield self._progress("decoding", picture, self._steps)
            with self._stopwatch.phase("decoding"):
                decoded = decode(row.passes[-1].owner.vae, latents[number])
                image = self._extensions.after_decode(row.beginning.finish(decoded.image, latents[number]), picture)
                extra = {**row.used, **self._extensions.before_save(image, picture, row.tags)}
                text = infotext(row.request, picture, model_hash=self._model_hash, version=__version__, extra=extra)
                png = encode_png(image, self._request, picture, text)
            yield from self._extensions_said()
            if decoded.warning:
                yield from self._warn(decoded.warning)
            width, height = image.size
            seed = row.request.seed_of(picture)
            yield Image(picture=picture, seed=seed, width=width, height=height, png=png, parameters=text)

    @property
    def _steps(self) -> int:
        """Of all passes together."""
        return self._request.num_inference_steps if self._row is None else self._row.steps

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
        sigma=current.sigmas[max(index, 0)], size=(current.shape[2], current.shape[1]), window=current.beginning.window,
    )  # fmt: skip
