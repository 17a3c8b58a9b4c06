"""Samplers and schedules as other tools name them -> AUTOMATIC1111's names.

Whether one of those exists here is the registry's matter: a name that it lacks is reported, not replaced.
"""

from collections.abc import Mapping

_COMFY_SAMPLERS: Mapping[str, str] = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS", "dpm_fast": "DPM fast", "dpm_adaptive": "DPM adaptive", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_sde_gpu": "DPM++ SDE", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE", "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun", "ddpm": "DDPM",
    "lcm": "LCM", "ddim": "DDIM", "uni_pc": "UniPC", "uni_pc_bh2": "UniPC",
}  # fmt: skip
_COMFY_SCHEDULES: Mapping[str, str] = {
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "sgm_uniform": "SGM Uniform",
    "simple": "Simple", "ddim_uniform": "DDIM", "beta": "Beta", "kl_optimal": "KL Optimal",
}  # fmt: skip
_INVOKE_SAMPLERS: Mapping[str, str] = {
    "euler": "Euler", "euler_a": "Euler a", "heun": "Heun", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_2s": "DPM++ 2S", "ddim": "DDIM", "unipc": "UniPC", "lms": "LMS", "lcm": "LCM",
    "kdpm_2": "DPM2", "kdpm_2_a": "DPM2 a", "k_dpm_2": "DPM2", "k_dpm_2_a": "DPM2 a", "plms": "PLMS", "ddpm": "DDPM",
}  # fmt: skip
_NOVELAI_SCHEDULES: Mapping[str, str] = {
    "native": "Automatic", "karras": "Karras", "exponential": "Exponential", "polyexponential": "Polyexponential",
}  # fmt: skip


def of_comfyui(sampler: object, schedule: object) -> tuple[object, object]:
    """ComfyUI's and Fooocus' names; what is not known comes back as it is."""
    return _COMFY_SAMPLERS.get(str(sampler), sampler), _COMFY_SCHEDULES.get(str(schedule), schedule)


def of_invokeai(scheduler: object) -> tuple[object, object]:
    """InvokeAI joins both, "_k" at the end is Karras. Its oldest names begin with "k_" instead."""
    name = str(scheduler)
    plain = name.removeprefix("k_") if name.removeprefix("k_") in _INVOKE_SAMPLERS else name
    if plain.endswith("_k") and plain.removesuffix("_k") in _INVOKE_SAMPLERS:
        return _INVOKE_SAMPLERS[plain.removesuffix("_k")], "Karras"
    return _INVOKE_SAMPLERS.get(plain, scheduler), "Automatic"


def of_novelai(sampler: object, schedule: object) -> tuple[object, object]:
    """NovelAI's names: ComfyUI's with "k_" before them."""
    name = str(sampler).removeprefix("k_").removesuffix("_v3")
    return _COMFY_SAMPLERS.get(name, sampler), _NOVELAI_SCHEDULES.get(str(schedule), schedule)
