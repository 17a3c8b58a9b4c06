"""The passes of a job: a row of walks from noise to latents, each with its model, prompts, sampler and levels.

A pass is the same for all pictures of the same words (`rows`). How they follow one another is known to `generation`,
what lies between two of them to `hires`, the single step to `denoise`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from webui.engine.beginning import Beginning
from webui.engine.denoise import Denoiser, Plan, SamplerState
from webui.engine.guidance import needs_uncond
from webui.engine.hires import are_alike, check_latents, hires_shape
from webui.engine.image_channels import blank_channels, is_instructed
from webui.engine.instructed import InstructedDenoiser, needs_blind
from webui.engine.latents import LatentShape, latent_shape
from webui.engine.models import Components
from webui.engine.prediction import CallHooks, GuidedDenoiser
from webui.engine.samplers import Sampler, SamplerOptions, find_sampler
from webui.engine.seeds import PictureNoise, Seeds
from webui.engine.sigmas import ScheduleOptions, Sigmas
from webui.engine.state import UnreadableState
from webui.engine.text import PlannedPrompts
from webui.engine.vae import Tell, untold
from webui.errors import InvalidRequest
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import Clock, clock
from webui.prompt.tags import Tag
from webui.registry import SAME_SAMPLER, SAME_SCHEDULE
from webui.requests import ImageToImage, PictureRequest, TextToImage

FIRST, HIRES = "sampling", "hires"

Hold = Callable[[Components, tuple[Tag, ...]], None]
"""Called before a prompt with these tags is encoded: extensions may change the text encoders."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One walk of a sampler, or the part of it that one model makes."""

    phase: str
    """What `events.Progress` calls it."""
    components: Components
    owner: Components
    """Whose autoencoder reads its latents: the checkpoint before a refiner, mostly `components` themselves."""
    words: PictureRequest
    """The request with the prompts of this pass."""
    timing: Clock
    prompts: PlannedPrompts
    """The prompts read for that clock and encoded."""
    guidance_scale: float
    sampler: Sampler
    sigmas: Sigmas
    """Levels of the whole walk."""
    until: int
    """Steps after which another model goes on, or all of them."""
    shape: LatentShape
    beginning: Beginning = field(default_factory=Beginning)
    continues: bool = False
    """It goes on with the state of the pass before; else it begins with noise, over the latents of that pass if any."""
    before: int = 0
    """Steps of the walks before this one."""
    is_shared: bool = False
    """The beginning of a branch: all pictures of the job have it in common, with the seeds of the first."""

    def seeds(self, picture: int) -> Seeds:
        """Of picture `picture`, 0-based over all batches of the job."""
        request, factor, number = self.words, self.components.factor, 0 if self.is_shared else picture
        area = request.seed_resize_height // factor, request.seed_resize_width // factor
        return Seeds(
            seed=request.seed_of(number),
            variation=request.variation_seed_of(number),
            strength=request.variation_strength,
            area=area if all(area) else None,
        )

    def denoiser(self, pictures: int, hooks: CallHooks | None = None) -> GuidedDenoiser:
        """Of so many pictures at once. Close it when the pass is over."""
        parts, prompts, scale, channels = self.components, self.prompts, self.guidance_scale, self.beginning.channels
        if channels is not None and is_instructed(parts) and isinstance(self.words, ImageToImage):
            image_scale = self.words.image_guidance_scale
            return InstructedDenoiser(parts, prompts, pictures, scale, channels, image_scale, hooks)
        return GuidedDenoiser(parts, prompts, pictures, scale, channels, hooks)

    def plan(self, seeds: Sequence[Seeds], denoiser: Denoiser, latents: torch.Tensor | None = None) -> Plan:
        """The walk for the pictures of these seeds; `latents` of the pass before it stand in for its own beginning."""
        beginning = self.beginning if latents is None else replace(self.beginning, latents=latents)
        request = self.words
        return Plan(
            sampler=self.sampler,
            sigmas=self.sigmas,
            denoise=beginning.guard(denoiser),
            noise=PictureNoise(seeds, self.shape, self.components.device, request.noise_source),
            begin=None if beginning.latents is None else beginning.first,
            options=sampler_options(request),
            eta_noise_seed_delta=request.eta_noise_seed_delta,
            until=self.until,
        )

    def check(self, state: SamplerState, pictures: int) -> SamplerState:
        """The state, if this pass can have made it; else `UnreadableState`."""
        if state.x.shape != (pictures, *self.shape) or not 0 <= state.index <= self.until:
            raise UnreadableState("the state belongs to another size or number of steps")
        return state


def passes_of(
    request: PictureRequest,
    components: Components,
    beginning: Beginning,
    load: Callable[[str], Components],
    hold: Hold,
    tell: Tell = untold,
) -> tuple[Pass, ...]:
    """At least one. `load` gives the components of a checkpoint that the request names beside its own."""
    first = _first(request, components, beginning, hold)
    row: tuple[Pass, ...] = (first,)
    if isinstance(request, TextToImage) and request.hires:
        second = load(request.hires_checkpoint) if request.hires_checkpoint else components
        row = (first, _hires(request, first, second, hold, tell))
    if not request.refiner:
        return row
    return *row[:-1], *_refined(row[-1], load(request.refiner), hold)


def _first(request: PictureRequest, components: Components, beginning: Beginning, hold: Hold) -> Pass:
    sampler = find_sampler(request.sampler)
    levels = sampler.levels(request.schedule, components.table, request.num_inference_steps, schedule_options(request))
    if isinstance(request, ImageToImage):
        levels = levels[-request.steps - 1 :]
    sigmas = sampler.arrange(levels)
    timing = clock(len(sigmas) - 1 if sampler.is_adaptive else request.num_inference_steps)
    size = beginning.size or (request.width, request.height)
    return Pass(
        phase=FIRST,
        components=components,
        owner=components,
        words=request,
        timing=timing,
        prompts=planned_prompts(request, components, timing, request.guidance_scale, hold),
        guidance_scale=request.guidance_scale,
        sampler=sampler,
        sigmas=sigmas,
        until=len(sigmas) - 1,
        shape=latent_shape(size, components.latent_channels, components.factor),
        beginning=beginning,
    )


def _hires(request: TextToImage, first: Pass, components: Components, hold: Hold, tell: Tell) -> Pass:
    check_latents(request, first.components, components)
    # A VAE that was chosen stands in for both checkpoints' own, as far as it reads the latents of both.
    owner = first.components if request.vae and are_alike(first.components, components) else components
    sampler = first.sampler if request.hires_sampler == SAME_SAMPLER else find_sampler(request.hires_sampler)
    schedule = request.schedule if request.hires_schedule == SAME_SCHEDULE else request.hires_schedule
    sigmas: Sigmas = (0.0,)
    if request.hires_strength:
        steps = request.hires_schedule_steps
        levels = sampler.levels(schedule, components.table, steps, schedule_options(request))
        sigmas = sampler.arrange(levels[-request.second_steps - 1 :])
    guidance_scale = request.hires_guidance_scale or request.guidance_scale
    steps = max(1, len(sigmas) - 1) if sampler.is_adaptive else request.second_steps
    timing = clock(first.timing.steps, hires_steps=steps)
    words = replace(
        request,
        prompt=request.hires_prompt or request.prompt,
        negative_prompt=request.hires_negative_prompt or request.negative_prompt,
    )
    shape = hires_shape(request, components)
    return Pass(
        phase=HIRES,
        components=components,
        owner=owner,
        words=words,
        timing=timing,
        prompts=planned_prompts(words, components, timing, guidance_scale, hold),
        guidance_scale=guidance_scale,
        sampler=sampler,
        sigmas=sigmas,
        until=len(sigmas) - 1,
        shape=shape,
        beginning=Beginning(channels=blank_channels(components, shape, tell)),
        before=first.until,
    )


def _refined(whole: Pass, refiner: Components, hold: Hold) -> tuple[Pass, ...]:
    """The pass as two: the second model takes over where `refiner_switch_at` says."""
    if refiner.latent_channels != whole.components.latent_channels or refiner.image_channels:
        raise InvalidRequest(
            "The refiner '{refiner}' works on other latents than '{checkpoint}'. Choose one of the same kind.",
            refiner=refiner.name,
            checkpoint=whole.components.name,
        )
    switch = switch_step(whole, whole.words.refiner_switch_at)
    if switch == whole.until:
        return (whole,)
    prompts = planned_prompts(whole.words, refiner, whole.timing, whole.guidance_scale, hold)
    beginning = replace(whole.beginning, channels=None)
    second = replace(whole, components=refiner, prompts=prompts, continues=True, beginning=beginning)
    return replace(whole, until=switch), second


def switch_step(whole: Pass, switch_at: float) -> int:
    """Steps before the refiner: those that begin before `switch_at` of the training timesteps, from noise on."""
    table = whole.components.table
    for step, sigma in enumerate(whole.sigmas[:-1]):
        if (table.size - 1 - round(table.timestep(sigma))) / table.size >= switch_at:
            return step
    return whole.until


def planned_prompts(
    request: PictureRequest, components: Components, timing: Clock, guidance_scale: float, hold: Hold
) -> PlannedPrompts:
    """The request's prompts, read for a pass of that clock and encoded. Raises `InvalidRequest`."""
    positive = plan(finish(request.prompt), timing, emphasis=request.emphasis)
    negative = None
    if needs_uncond(guidance_scale) or positive.is_combined or needs_blind(request, components):
        opposite = finish(request.negative_prompt, is_negative=True)
        negative = plan(opposite, timing, is_negative=True, emphasis=request.emphasis)
    encoder = components.prompts
    if request.clip_skip > encoder.layers:
        raise InvalidRequest(
            "This checkpoint's text encoder has {layers} layers, so clip skip can be {layers} at most.",
            layers=encoder.layers,
        )
    hold(components, positive.tags)
    return PlannedPrompts(encoder, positive, negative, emphasis=request.emphasis, clip_skip=request.clip_skip)


def schedule_options(request: PictureRequest) -> ScheduleOptions:
    return ScheduleOptions(
        sigma_min=request.sigma_min,
        sigma_max=request.sigma_max,
        rho=request.rho,
        discard_next_to_last=request.discard_next_to_last_sigma,
    )


def sampler_options(request: PictureRequest) -> SamplerOptions:
    return SamplerOptions(
        eta=request.eta,
        ddim_eta=request.ddim_eta,
        s_churn=request.s_churn,
        s_tmin=request.s_tmin,
        s_tmax=request.s_tmax,
        s_noise=request.s_noise,
        unipc_order=request.unipc_order,
        unipc_variant=request.unipc_variant,
    )
