"""What AUTOMATIC1111's clients send to draw: its fields with its API's defaults, which are not those of its page.

Fields that Easel has nothing for are here too, because clients send all of them: `translation` takes their harmless
values and refuses the others by name.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=32_000)]
Name = Annotated[str, Field(max_length=300)]
Picture = Annotated[str, Field(max_length=90 * 2**20)]
"""Base64, with or without "data:…;base64," before it."""


class Drawing(BaseModel):
    """What txt2img and img2img have in common."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    prompt: Text = ""
    negative_prompt: Text | None = ""
    styles: Annotated[list[Name], Field(max_length=100)] | None = None
    seed: int | None = -1
    subseed: int | None = -1
    subseed_strength: float | None = 0.0
    seed_resize_from_h: int | None = -1
    seed_resize_from_w: int | None = -1
    seed_enable_extras: bool = True
    sampler_name: Name | None = None
    sampler_index: Name | None = "Euler"
    """The older name of `sampler_name`, used when that is absent."""
    scheduler: Name | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    distilled_cfg_scale: float | None = None
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = 0.0
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None
    eta: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: Name | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    comments: dict[str, Any] | None = None
    script_name: Name | None = None
    script_args: list[Any] = Field(default_factory=list)
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    infotext: Text | None = None
    """Fills the fields that the client did not name."""
    send_images: bool = True
    save_images: bool = False
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    force_task_id: Name | None = None


class TextBody(Drawing):
    enable_hr: bool = False
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: Name | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: Name | None = None
    hr_sampler_name: Name | None = None
    hr_scheduler: Name | None = None
    hr_prompt: Text | None = ""
    hr_negative_prompt: Text | None = ""
    hr_cfg: float | None = None
    firstpass_image: Picture | None = None


class ImageBody(Drawing):
    init_images: Annotated[list[Picture], Field(max_length=64)] | None = None
    resize_mode: int = 0
    image_cfg_scale: float | None = None
    mask: Picture | None = None
    latent_mask: Picture | None = None
    mask_blur: int | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool | int = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float | None = None
    include_init_images: bool = False
