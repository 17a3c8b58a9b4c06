"""One job from loaded components to finished pictures, as events.

Owns the order of things: batches, pictures, signals between steps, saved states. How a step or a picture is made is
known to `denoise` and `vae` alone.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing

from webui import __version__
from webui.contract import Job, Signal, SignalSource
from webui.engine import state as states
from webui.engine.beginning import Beginning, beginning_of
from webui.engine.denoise import DenoiseStep, Plan, SamplerState, denoise
from webui.engine.guidance import needs_uncond
from webui.engine.latents import finished_latents, latent_shape
from webui.engine.models import Components
from webui.engine.prediction import GuidedDenoiser
from webui.engine.previews import Previewer, previewer
from webui.engine.samplers import SamplerOptions, find_sampler
from webui.engine.seeds import PictureNoise
from webui.engine.sigmas import ScheduleOptions
from webui.engine.state import SavedJob, UnreadableState
from webui.engine.stopwatch import Stopwatch
from webui.engine.text import PlannedPrompts
from webui.engine.vae import decode
from webui.errors import InvalidRequest
from webui.events import Cancelled, Checkpoint, Done, Event, Image, Paused, Progress, Warning
from webui.metadata import encode_png, infotext
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import clock
from webui.requests import ImageToImage, TextToImage
from webui.sentences import Sentence

SECONDS_BETWEEN_CHECKPOINTS = 1.0

Outcome = Generator[Event, None, Signal | None]
"""Events of a part of the job; it returns the signal that ended it early, or None."""


def schedule_options(request: TextToImage) -> ScheduleOptions:
    return ScheduleOptions(
        sigma_min=request.sigma_min,
        sigma_max=request.sigma_max,
        rho=request.rho,
        discard_next_to_last=request.discard_next_to_last_sigma,
    )


def sampler_options(request: TextToImage) -> SamplerOptions:
    return SamplerOptions(
        eta=request.eta,
        ddim_eta=request.ddim_eta,
        s_churn=request.s_churn,
        s_tmin=request.s_tmin,
        s_tmax=request.s_tmax,
        s_noise=request.s_noise,
    )


def used_embeddings(prompts: PlannedPrompts) -> Mapping[str, object]:
    """What a picture's text says of them, as AUTOMATIC1111 writes it."""
    hashes = ", ".join(f"{name}: {embedding.hash}" for name, embedding in prompts.embeddings.items())
    return {"TI hashes": hashes or None}


class Generation:
    """A job under way. `events` may be walked through once."""

    def __init__(
        self,
        job: Job,
        request: TextToImage,
        components: Components,
        model_hash: str,
        signal: SignalSource,
        stopwatch: Stopwatch,
    ) -> None:
        self._job = job
        self._request = request
        self._components = components
        self._model_hash = model_hash
        self._signal = signal
        self._stopwatch = stopwatch
        self._checkpoint_at = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        self._warned: set[Sentence] = set()
        self._sampler = find_sampler(self._request.sampler)
        levels = self._sampler.levels(
            request.schedule, components.table, request.num_inference_steps, schedule_options(request)
        )
        if isinstance(request, ImageToImage):
            levels = levels[-request.steps - 1 :]
        self._sigmas = self._sampler.arrange(levels)
        self._beginning = Beginning()
        self._used: Mapping[str, object] = {}
        """What the pictures' texts tell beside the request."""
        self._shape = latent_shape(self._size, components.latent_channels, components.factor)

    @property
    def _size(self) -> tuple[int, int]:
        return self._request.width, self._request.height

    def events(self) -> Iterator[Event]:
        """Everything from encoding to the final event."""
        yield self._progress("encoding", 0, 0)
        with self._stopwatch.phase("encoding"):
            prompts = self._encode()
            self._used = used_embeddings(prompts)
            self._beginning = beginning_of(self._request, self._job.inputs, self._components)
        yield from self._unknown_tags(prompts)
        for name, problem in prompts.unfit_embeddings.items():
            yield from self._warn(Sentence("The embedding '{name}' has no effect: {why}", name=name, why=problem))
        saved, warning = self._saved()
        if warning:
            yield from self._warn(warning)
        parts = self._components
        if self._request.preview == "Small" and parts.preview_decoder is None:
            yield from self._warn(Sentence("This checkpoint brings no small decoder, so its previews are linear."))
        preview = previewer(self._request.preview, parts.vae, parts.latent_rgb, parts.preview_decoder)
        while saved.pictures:
            pictures = len(saved.pictures)
            guidance_scale = self._request.guidance_scale
            with closing(GuidedDenoiser(self._components, prompts, pictures, guidance_scale)) as denoiser:
                taken = yield from self._batch(saved, denoiser, preview)
            if taken is Signal.CANCEL:
                yield Cancelled()
                return
            if taken is Signal.PAUSE:
                yield Paused()
                return
            saved = SavedJob(self._after(saved, is_skipped=taken is Signal.SKIP))
            if saved.pictures:
                yield self._checkpoint(saved)
        yield Done(timings=self._stopwatch.timings())

    def _encode(self) -> PlannedPrompts:
        request = self._request
        timing = clock(len(self._sigmas) - 1 if self._sampler.is_adaptive else request.num_inference_steps)
        positive = plan(finish(request.prompt), timing, emphasis=request.emphasis)
        negative = None
        if needs_uncond(request.guidance_scale) or positive.is_combined:
            opposite = finish(request.negative_prompt, is_negative=True)
            negative = plan(opposite, timing, is_negative=True, emphasis=request.emphasis)
        encoder = self._components.prompts
        if request.clip_skip > encoder.layers:
            raise InvalidRequest(
                "This checkpoint's text encoder has {layers} layers, so clip skip can be {layers} at most.",
                layers=encoder.layers,
            )
        return PlannedPrompts(encoder, positive, negative, emphasis=request.emphasis, clip_skip=request.clip_skip)

    def _unknown_tags(self, prompts: PlannedPrompts) -> Iterator[Event]:
        for tag in prompts.tags:
            written = f"<{tag.kind}:{tag.name}>"
            yield from self._warn(
                Sentence("“{tag}” in the prompt has no effect: nothing here knows such tags.", tag=written)
            )

    def _saved(self) -> tuple[SavedJob, Sentence | None]:
        """Where to begin, and a warning when the job's state is of no use."""
        beginning = SavedJob(self._together(0))
        if self._job.state is None:
            return beginning, None
        try:
            saved = states.load(self._job.state, self._components.device)
            if saved.sampler is not None:
                saved = SavedJob(saved.pictures, self._checked(saved.sampler, len(saved.pictures)))
            if saved.sampler is None and saved.pictures:
                saved = SavedJob(self._together(saved.pictures[0]))
        except UnreadableState:
            return beginning, Sentence(
                "The saved state of this job could not be read, so it was started from the beginning."
            )
        return saved, None

    def _checked(self, sampler: SamplerState, pictures: int) -> SamplerState:
        """The state, if the checkpoint and request of this job can have made it; else `UnreadableState`."""
        if sampler.x.shape != (pictures, *self._shape) or not 0 <= sampler.index < len(self._sigmas):
            raise UnreadableState("the state belongs to another size or number of steps")
        return sampler

    def _together(self, picture: int) -> tuple[int, ...]:
        """The pictures that are made at once, from `picture` on; none when all are made.

        On the CPU always one: batching gains nothing there, and matrices of another shape round otherwise, so that
        a picture of a batch would not be the picture of its seed to the last bit.
        """
        if picture >= self._request.pictures:
            return ()
        if self._components.device.type == "cpu" or self._sampler.is_adaptive:
            return (picture,)
        return tuple(range(picture, self._batch_end(picture)))

    def _batch_end(self, picture: int) -> int:
        return (picture // self._request.batch_size + 1) * self._request.batch_size

    def _after(self, saved: SavedJob, *, is_skipped: bool) -> tuple[int, ...]:
        last = saved.pictures[-1]
        return self._together(self._batch_end(last) if is_skipped else last + 1)

    def _batch(self, saved: SavedJob, denoiser: GuidedDenoiser, preview: Previewer) -> Outcome:
        """Sample and decode the pictures that are made together."""
        pictures = saved.pictures
        seeds = [self._request.seed_of(picture) for picture in pictures]
        noise = PictureNoise(seeds, self._shape, self._components.device)
        beginning = self._beginning
        begin = None if beginning.latents is None else beginning.first
        options, delta = sampler_options(self._request), self._request.eta_noise_seed_delta
        plan = Plan(self._sampler, self._sigmas, beginning.guard(denoiser), noise, begin, options, delta)
        # Cancelling is looked at between steps only: a model call cannot be interrupted half-way.
        taken = yield from self._heed(saved)
        if taken is not None:
            return taken
        sampler = saved.sampler or plan.first_state()
        steps = denoise(plan, sampler)
        while True:
            denoiser.begin_step(sampler.index + 1)
            with self._stopwatch.phase("sampling"):
                step = next(steps, None)
            if step is None:
                break
            sampler = step.state
            yield from self._after_step(pictures, step, preview)
            taken = yield from self._heed(SavedJob(pictures, sampler))
            if taken is not None:
                return taken
        yield from self._decode(pictures, sampler)
        if pictures[-1] + 1 == self._batch_end(pictures[-1]):
            # A skip that came while the batch was being decoded meant this batch; cancel and pause stay to be heeded.
            self._signal()
        return None

    def _heed(self, saved: SavedJob) -> Outcome:
        """Look whether a signal waits; PAUSE puts the state aside first."""
        taken = self._signal()
        if taken is Signal.PAUSE or (taken is None and time.monotonic() >= self._checkpoint_at):
            yield self._checkpoint(saved)
        return taken

    def _after_step(self, pictures: tuple[int, ...], step: DenoiseStep, preview: Previewer) -> Iterator[Event]:
        if step.was_repeated:
            yield from self._warn(
                Sentence("Half precision gave no numbers, so the picture was drawn in full precision.")
            )
        jpeg = preview(step.pred_original[0])
        yield self._progress("sampling", pictures[0], step.index, jpeg)

    def _decode(self, pictures: tuple[int, ...], sampler: SamplerState) -> Iterator[Event]:
        latents = finished_latents(sampler.x, self._sigmas[-1])
        for number, picture in enumerate(pictures):
            yield self._progress("decoding", picture, len(self._sigmas) - 1)
            with self._stopwatch.phase("decoding"):
                decoded = decode(self._components.vae, latents[number])
                image = self._beginning.finish(decoded.image)
                text = infotext(
                    self._request, picture, model_hash=self._model_hash, version=__version__, extra=self._used
                )
                png = encode_png(image, self._request, picture, text)
            if decoded.warning:
                yield from self._warn(decoded.warning)
            width, height = image.size
            seed = self._request.seed_of(picture)
            yield Image(picture=picture, seed=seed, width=width, height=height, png=png, parameters=text)

    def _progress(self, phase: str, picture: int, step: int, jpeg: bytes | None = None) -> Progress:
        total = len(self._sigmas) - 1
        pictures = self._request.pictures
        return Progress(phase=phase, picture=picture, pictures=pictures, step=step, total=total, preview=jpeg)

    def _checkpoint(self, saved: SavedJob) -> Checkpoint:
        self._checkpoint_at = time.monotonic() + SECONDS_BETWEEN_CHECKPOINTS
        return Checkpoint(state=states.dump(saved))

    def _warn(self, told: Sentence) -> Iterator[Event]:
        """The same warning once per job."""
        if told not in self._warned:
            self._warned.add(told)
            yield Warning(text=told)
