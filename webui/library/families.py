"""What a model is, told from the names and shapes of its tensors: checkpoint or LoRA, of which family, for which task.

Names are those of Rombach et al.'s own code (latent-diffusion, "LDM"), of diffusers and of the usual trainers. Knows
nothing of files.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from webui.library.headers import Shapes
from webui.sentences import Sentence

UNET = "model.diffusion_model."
FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"
"""Its shape is (width, channels, 3, 3): what comes in beside the noise makes the task."""
FAMILIES = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""Features per token that the denoiser's cross-attention reads -> the family."""
SIZES = {"sd2": 768, "sdxl": 1024, "sdxl-refiner": 1024}
"""Family -> native size in pixels where nothing says another; all others 512."""
SMALLEST, BIGGEST, STEP = 64, 2048, 8
"""Pixels of the sides that a picture can be asked for in."""


@dataclass(frozen=True)
class Nature:
    """What a file is."""

    kind: str
    """A key of `KINDS`; "newer" for a family that Easel does not draw with; "" when its names say nothing."""
    family: str = ""
    task: str = ""
    called: Sentence | None = None
    """In words, where `kind` does not say it."""
    lacks: tuple[str, ...] = ()
    """Parts of a checkpoint that are not in it."""


KINDS = {
    "checkpoint": Sentence("a checkpoint"),
    "denoiser": Sentence("a denoiser (UNet) alone"),
    "lora": Sentence("a LoRA"),
    "embedding": Sentence("an embedding"),
    "vae": Sentence("a VAE"),
    "controlnet": Sentence("a ControlNet"),
    "t2i-adapter": Sentence("a T2I-Adapter"),
    "ip-adapter": Sentence("an IP-Adapter"),
    "upscaler": Sentence("an upscaler"),
    "face-restorer": Sentence("a face restorer"),
    "text-encoder": Sentence("a text encoder alone"),
    "motion-module": Sentence("an AnimateDiff motion module"),
}
"""Kind -> how a sentence calls it."""

NEWER = (
    (r"joint_blocks\.0\.context_block\.", "Stable Diffusion 3"),
    (r"single_stream_modulation\.lin\.", "FLUX.2"),
    (r"distilled_guidance_layer\.", "Chroma"),
    (r"txt_in\.individual_token_refiner\.", "Hunyuan Video"),
    (r"double_blocks\.0\.img_attn\.", "FLUX"),
    (r"double_layers\.0\.attn\.", "AuraFlow"),
    (r"cap_embedder\.0\.", "Lumina or Z-Image"),
    (r"(patchify_proj|transformer_blocks\.27\.scale_shift_table)", "LTX-Video"),
    (r"transformer_blocks\.0\.img_mod\.", "Qwen-Image"),
    (r"blocks\.0\.cross_attn\.q_linear\.", "PixArt or Sana"),
    (r"double_stream_blocks\.0\.block\.", "HiDream"),
    (r"(head\.modulation|vace_blocks\.0\.)", "Wan"),
    (r"(blocks\.0\.attn\.qkv_x\.)", "Mochi"),
    (r"(net\.)?x_embedder\.proj\.1\.", "Cosmos"),
    (r"(clip_txt_mapper\.|down_blocks\.1\.0\.channelwise\.)", "Stable Cascade"),
)
"""Beginning of a name that only one family has, behind any prefix of its container -> the family, as people call it."""
NEWER_LATENTS = 16
"""Channels of the latents of FLUX and Stable Diffusion 3; older ones have four."""
CONTAINERS = r"(?:model\.diffusion_model\.|diffusion_model\.|model\.|transformer\.|unet\.)?"

LORA = re.compile(
    r"(\.lora_(up|down|A|B|mid)|[._]lora\.(up|down)|\.hada_w[12]_[ab]|\.lokr_w[12](_[ab])?|\.oft_blocks|\.dora_scale)\b"
)
"""Ends of names that the formats of LoRA and its relatives have: kohya, diffusers, PEFT, LyCORIS."""
INWARD = r"[._](lora_down|lora_A|lora\.down|hada_w[12]_b|lokr_w2_b)(\.\w+)?(\.weight)?"
"""How those formats call the half of a LoRA whose second dimension is what the layer takes."""
PARTS = (
    ("motion-module", r"^(down_blocks\.0\.)?motion_modules\.|\.motion_modules\."),
    ("controlnet", r"^control_model\.|^(input_hint_block|controlnet_cond_embedding|zero_convs)\.|^lllite_"),
    ("ip-adapter", r"^(image_proj|ip_adapter)\."),
    ("t2i-adapter", r"^(adapter\.)?(body\.0\.(in_conv|block1)|body\.0\.resnets\.0\.block1|total_downscale)"),
    ("vae", r"^(first_stage_model\.|vae\.)?(decoder\.conv_in|encoder\.conv_in)\.weight$"),
    ("denoiser", r"^(unet\.)?(time_embedding\.linear_1|input_blocks\.0\.0|down_blocks\.0\.resnets\.0\.conv1)\."),
    ("face-restorer", r"^(stylegan_decoder|quantize\.embedding|toRGB\.)\b"),
    ("upscaler", r"^(conv_first|model\.0|body\.0|layers\.0\.residual_group|RRDB_trunk\.0\.RDB1\.conv1)\b.*weight$"),
    ("text-encoder", r"^(text_model\.encoder\.layers\.0|transformer\.resblocks\.0|encoder\.block\.0)\."),
)
"""Kind -> a name that it alone has, as a line of all the names; tried in order."""


class _Names:
    """The names of a file in one text, a line each: a search over it is a hundred times faster than one per name."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    @cached_property
    def text(self) -> str:
        return "\n".join(self.shapes)

    def begin(self, *starts: str) -> bool:
        """Whether any name begins with one of these."""
        return any(name.startswith(starts) for name in self.shapes)

    def has(self, pattern: str) -> bool:
        return re.search(pattern, self.text, re.MULTILINE) is not None

    def width(self, pattern: str) -> int:
        """The second dimension of the first tensor whose whole name fits; 0 without one."""
        found = re.search(f"^{pattern}$", self.text, re.MULTILINE)
        shape = self.shapes[found[0]] if found else ()
        return shape[1] if len(shape) > 1 else 0


def examine(shapes: Shapes) -> Nature:
    """Tell what holds these tensors."""
    names = _Names(shapes)
    if FIRST_CONVOLUTION in shapes:  # first, as these have thousands of names
        return _checkpoint(names)
    if LORA.search(names.text):
        return Nature("lora", _lora_family(names))
    if is_embedding(shapes):
        return Nature("embedding", _embedding_family(shapes))
    for pattern, called in NEWER:
        if names.has(f"^{CONTAINERS}{pattern}"):
            return Nature("newer", called=Sentence("a {family} model", family=called))
    if names.width(r"(first_stage_model\.|vae\.)?decoder\.conv_in\.weight") == NEWER_LATENTS:
        return Nature("newer", called=Sentence("a VAE of FLUX or Stable Diffusion 3"))
    for kind, pattern in PARTS:
        if names.has(pattern):
            return Nature(kind, _attention_family(names) if kind in ("controlnet", "denoiser") else "")
    return Nature("")


def _checkpoint(names: _Names) -> Nature:
    """A file that has LDM's denoiser."""
    family, task = _family(names), _task(names)
    if names.begin("control_model."):  # the first ControlNets came with the checkpoint they steer
        return Nature("controlnet", family)
    if "edm_mean" in names.shapes:
        return Nature("newer", called=Sentence("a {family} model", family="Playground v2.5"))
    if names.begin("embedder.model.visual."):
        return Nature("newer", called=Sentence("a {family} model", family="Stable unCLIP"))
    has_text = names.begin("cond_stage_model.", "conditioner.embedders.")
    has_vae = names.begin("first_stage_model.", "vae.")
    if not has_text and not has_vae:
        return Nature("denoiser", family, task)
    lacks = (*(() if has_text else ("text encoder",)), *(() if has_vae else ("VAE",)))
    return Nature("checkpoint", family, task, lacks=lacks)


def _family(names: _Names) -> str:
    if names.begin("conditioner.embedders."):
        return "sdxl" if names.begin("conditioner.embedders.1.model.") else "sdxl-refiner"
    if names.begin("cond_stage_model.model."):
        return "sd2"
    family = FAMILIES.get(names.width(rf"{re.escape(UNET)}.*attn2\.to_k\.weight"), "")
    if family:
        return family
    return "sd" if names.begin("cond_stage_model.transformer.") else ""


def _task(names: _Names) -> str:
    """From the channels that are over what the latents have."""
    shapes = names.shapes
    channels = shapes.get(FIRST_CONVOLUTION, (0, 0))[1]
    decoder = shapes.get("first_stage_model.decoder.conv_in.weight", (0, 4))
    if names.begin("low_scale_model.") or channels == 7:
        return "upscale"
    return task_of(channels, decoder[1])


def task_of(channels: int, latents: int) -> str:
    """What a denoiser with so many input channels takes beside noise of `latents` channels; "" when unknown."""
    tasks = {0: "text", latents + 1: "inpaint", latents: "instruct-pix2pix", 1: "depth"}
    return tasks.get(channels - latents, "")


def _attention_family(names: _Names) -> str:
    return FAMILIES.get(names.width(r".*attn2\.to_k\.weight"), "")


def _lora_family(names: _Names) -> str:
    if names.has(r"^lora_te2_|^text_encoder_2\."):
        return "sdxl"
    width = names.width(r".*attn2[._](processor\.)?to_[kv]" + INWARD)
    return FAMILIES.get(width, "sd" if width else "")  # whatever a header says: its shapes fit no other checkpoint


def is_embedding(shapes: Shapes) -> bool:
    """Whether these are one or two words' vectors: few tensors, (vectors, features) or (features,)."""
    known = {"emb_params", "clip_l", "clip_g"}
    if shapes.keys() & known and len(shapes) <= 3:
        return True
    if any(key.startswith("string_to_param") for key in shapes):
        return True
    vectors = [shape for shape in shapes.values() if len(shape) in (1, 2) and shape and shape[-1] in (768, 1024, 1280)]
    return 0 < len(shapes) <= 3 and len(vectors) == len(shapes) and not any("." in key for key in shapes)


def _embedding_family(shapes: Shapes) -> str:
    if "clip_g" in shapes:
        return "sdxl"
    features = next((shape[-1] for shape in shapes.values() if shape), 0)
    return {768: "sd1", 1024: "sd2", 1280: "sdxl"}.get(features, "")


def native_size_of(said: int, family: str, prediction_type: str) -> int:
    """Side in pixels: what is said of the model where that is a possible size, else its family's."""
    if 0 < said <= BIGGEST and said % STEP == 0:
        return said
    if family == "sd2" and prediction_type == "epsilon":
        return 512
    return SIZES.get(family, 512)


def default_size(native_size: int) -> dict[str, int]:
    """Of pictures that name none. Smaller models can be trained than pictures can be asked for."""
    return dict.fromkeys(("width", "height"), max(SMALLEST, native_size))
