"""Going on from another picture's step: the row of passes of a branch, and noise that changes in the middle.

A branch walks its origin's first steps again, which gives the same bits, so nothing has to be kept of a picture. What
may change is known to `webui/branches.py`, how a pass is walked to `generation`.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from webui.engine.denoise import Plan, SamplerState
from webui.engine.passes import FIRST, Pass
from webui.engine.seeds import Seeds
from webui.errors import InvalidRequest


def branched(origin: Sequence[Pass], own: Sequence[Pass], step: int) -> tuple[Pass, ...]:
    """The passes of `own` from `step` of its first walk on, after those of `origin` up to there.

    Raises `InvalidRequest` where no step is left to make.
    """
    steps = max(each.until for each in own if each.phase == FIRST)
    if step >= steps:
        raise InvalidRequest(
            "A branch leaves at least one step to make: with {steps} steps it begins after step {most} at the "
            "latest, not {step}.",
            steps=steps, most=steps - 1, step=step,
        )  # fmt: skip
    before: list[Pass] = []
    for each in origin:
        if each.phase == FIRST and (not before or before[-1].until < step):
            before.append(replace(each, until=min(each.until, step), is_shared=True))
    after = [each for each in own if each.phase != FIRST or each.until > step]
    return *before, replace(after[0], continues=True), *after[1:]


@torch.inference_mode()
def with_other_noise(state: SamplerState, plan: Plan, before: Sequence[Seeds], seeds: Sequence[Seeds]) -> SamplerState:
    """The state with the noise that is left changed for those pictures whose seeds are others now.

    x is the picture estimate D plus sigma times noise (Karras et al. 2022, eq. 3), so the noise is (x - D) / sigma: it
    is replaced by that of the other seed, or mixed with that of the variation seed. What a sampler remembers does not
    fit to it any more and is left out. Pictures whose seeds stay keep every bit.
    """
    is_other = [old != new for old, new in zip(before, seeds, strict=True)]
    if not any(is_other):
        return state
    _check_between(state, plan)
    sigma = plan.sigmas[state.index]
    if state.is_full_precision and not plan.denoise.is_full_precision:
        plan.denoise.to_full_precision()
    estimate = plan.denoise(state.x, sigma)
    noise = plan.noise.changed((state.x - estimate) / sigma, state.noise, before, plan.eta_noise_seed_delta)
    rows = torch.tensor(is_other, device=state.x.device)[:, None, None, None]
    x = torch.where(rows, estimate + sigma * noise, state.x)
    history = {} if all(is_other) else state.history
    return replace(state, x=x, noise=plan.noise.save(), history=history)


def _check_between(state: SamplerState, plan: Plan) -> None:
    """Raises `InvalidRequest` between the calls that together are one step of DPM-Solver-fast."""
    if plan.sampler.name == "DPM fast" and state.history:
        raise InvalidRequest(
            "DPM fast makes its steps in groups, and another seed cannot be taken up within one. Keep the seed, "
            "branch from another step, or choose another sampling method."
        )
