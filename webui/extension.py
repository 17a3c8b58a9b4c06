"""The contract between Easel and an extension: the only module of Easel that an extension imports.

Owns the types that cross that border: options, contexts, hooks. Finding, checking and switching extensions is done in
`extension_loader`, calling their hooks in `engine/extensions.py`.

An extension is a folder:

    extensions/film_grain/
        extension.toml   name, version, api, title, description, tags, requirements, asks
        options.py       `Options`, a class under `@options`; no torch, no gradio
        engine.py        `Engine`, a subclass of `EngineHooks`; no gradio (it may run on another machine)
        script.py        `Script`, a subclass of `ScriptHooks`, with `Options` of its own: many jobs out of one request
        ui.py            any of `panel(panel)`, `tab(context)`, `routes(context)`; no torch
        assets/          *.js and *.css, which the page loads

All but `extension.toml` are optional. The modules of a folder import each other relatively (`from .options import …`).

Defaults mean "off": an extension takes part in a picture when one of its options differs from its default, or when the
prompt has one of its tags, and only then. So a picture's metadata names everything that had a part in it.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, dataclass_transform

from pydantic.dataclasses import dataclass as strict_dataclass

from webui.errors import CheckpointError, InvalidRequest, NotFound, UnknownName, UserError
from webui.grids import MOST_PIXELS, Grid, draw_grid
from webui.params import Param, Parameter, parameters
from webui.prompt.tags import Tag
from webui.request_base import STRICT, Request
from webui.requests import ImageToImage, Inpaint, PictureRequest, TextToImage
from webui.script import (
    Cell,
    Composed,
    Finished,
    Made,
    ScriptContext,
    ScriptHooks,
    changed,
    check_count,
    opened,
    possible,
)
from webui.sentences import Sentence
from webui.upscale_request import Upscale

if TYPE_CHECKING:  # the server, which must not import torch, reads this module too
    import torch
    from fastapi import APIRouter
    from PIL.Image import Image

__all__ = [
    "API",
    "MOST_PIXELS",
    "Area",
    "Cell",
    "CheckpointError",
    "Components",
    "Composed",
    "Conditioning",
    "EngineContext",
    "EngineHooks",
    "Finished",
    "Grid",
    "Guidance",
    "ImageToImage",
    "Inpaint",
    "InvalidRequest",
    "Made",
    "NotFound",
    "Panel",
    "Param",
    "Parameter",
    "PictureRequest",
    "Request",
    "ScriptContext",
    "ScriptHooks",
    "Sentence",
    "ServerContext",
    "Step",
    "Tag",
    "TextToImage",
    "UnetInputs",
    "UnknownName",
    "Upscale",
    "UserError",
    "Weights",
    "changed",
    "check_count",
    "contextmanager",
    "draw_grid",
    "nullcontext",
    "opened",
    "options",
    "parameters",
    "possible",
    "replace",
]  # fmt: skip

API = 1
"""The version of this contract; `api` of an extension.toml must be it."""

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(declared: type[Class]) -> type[Class]:
    """Make a class the strict, frozen options of an extension.

    Every field is a bool, int, float or str with a default and a `Param`: `Annotated[float, Param(0, 1, label=…,
    help=…)] = 0.0`. A str that is the id of an uploaded picture (32 hexadecimal digits) brings the picture along: see
    `EngineContext.inputs`.
    A check over several fields is a method under pydantic's `model_validator` that raises `InvalidRequest`.
    """
    made: type[Class] = strict_dataclass(frozen=True, kw_only=True, config=STRICT)(declared)  # type: ignore[assignment]
    return made


OptionsType = TypeVar("OptionsType")


@dataclass(frozen=True, kw_only=True)
class Components:
    """The loaded checkpoint: diffusers' and transformers' own modules, which carry no types."""

    name: str
    """Of the checkpoint."""
    unet: Any
    """UNet2DConditionModel."""
    vae: Any
    """AutoencoderKL."""
    text_encoders: tuple[Any, ...]
    """CLIPTextModel; for SDXL a CLIPTextModelWithProjection follows, its refiner has that one alone."""
    tokenizers: tuple[Any, ...]
    """One for each text encoder."""
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    factor: int
    """Pixels per latent along a side."""
    device: "torch.device"
    dtype: "torch.dtype"


@dataclass(frozen=True)
class Weights:
    """What a model file holds, as it is in the file."""

    tensors: "Mapping[str, torch.Tensor]"
    metadata: Mapping[str, str]
    """Of a safetensors file's header."""


@dataclass(frozen=True, kw_only=True)
class EngineContext:
    """What an engine half knows of the job."""

    request: Request
    """As it was asked for, a `TextToImage`, `ImageToImage` or `Inpaint`."""
    models_dir: Path
    """Of the machine that draws; model files of an extension lie in a folder of their kind below it."""
    models: Callable[[str], Mapping[str, Path]]
    """Files and folders of a shelf that Easel knows, "loras", "controlnets", "embeddings", "vae" or "upscalers", by
    name, in all folders that it looks into; looked for anew at each call."""
    folder: Path
    """The extension's own."""
    inputs: Mapping[str, bytes]
    """PNG of every uploaded picture that the request or an option names, by id."""
    device: "torch.device"
    dtype: "torch.dtype"
    read_weights: "Callable[[Path], Weights]"
    """Every tensor of a model file, of safetensors or of a pickle that holds nothing else; nothing in it is run.
    Raises `CheckpointError`."""
    cache: MutableMapping[str, Any]
    """The extension's own, kept from job to job while the engine process lives. Keep it small."""
    warn: Callable[[Sentence], None]
    """Tell the person something; the same sentence is told once per job."""
    note: Callable[[Sentence], None]
    """Put a line into the picture's receipt, for those who want to know what happened; warnings are in it anyway."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where the job is."""

    index: int
    """Of the step that is being made, counted from 1."""
    total: int
    """Steps of this pass."""
    phase: str
    """"sampling", or "hires" for the second pass."""
    pictures: tuple[int, ...]
    """Numbers of the pictures that are made together, counted from 0 over the whole job: the rows of a batch."""
    sigma: float
    """Noise level at which the step begins. A sampler may call the model at lower ones too: see `UnetInputs`."""
    size: tuple[int, int]
    """Width and height of this pass's latents."""
    window: tuple[float, float, float, float]
    """What is drawn of the whole picture: left, top, right and bottom as shares of its sides. (0, 0, 1, 1) but where
    only the masked part is painted."""


Box = tuple[int, int, int, int]
"""Left, top, right and bottom in latents of the whole picture; right and bottom are excluded."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of the picture that is predicted by itself too, under a prompt of its own."""

    box: Box
    share: "torch.Tensor"
    """(height, width) of the box, 0 to 1: how much this prediction counts there. The rest is that of the whole picture;
    where areas overlap, their shares make 1 at most."""
    conditioning: "Conditioning"
    """See `Conditioning.read`."""


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What guides the pictures of a step: encoded text. `pooled` are SDXL's vectors of whole texts, else None."""

    conds: "tuple[torch.Tensor, ...]"
    """One for each part of the prompt that AND joins: (pictures, tokens, features), all of one shape."""
    weights: tuple[float, ...]
    """Of the parts."""
    uncond: "torch.Tensor | None"
    """The same shape; None when guidance is off."""
    pooled: "tuple[torch.Tensor, ...] | None" = None
    """One for each of `conds`: (pictures, features)."""
    pooled_uncond: "torch.Tensor | None" = None
    areas: tuple[Area, ...] = ()
    """Parts of the picture under prompts of their own. Each costs another call of the UNet, of the area's size."""
    read: "Callable[[str, str | None], Conditioning]"
    """A prompt and a negative prompt (None: the pass's own) as this pass reads its own, at this step: by its text
    encoders, in its prompt language, with its emphasis and clip skip. Raises `UserError`. Tags have no effect."""


@dataclass(frozen=True, kw_only=True)
class UnetInputs:
    """One call of the UNet. `rows` is pictures, or twice as many when guidance is on: unconditional ones first."""

    latents: "torch.Tensor"
    """(rows, channels, height, width), scaled as the UNet takes them, without the channels of a picture beside them."""
    timestep: "torch.Tensor"
    """Scalar."""
    encoder_hidden_states: "torch.Tensor"
    """(rows, tokens, features)."""
    unconditional_rows: int
    """How many of the first rows belong to the negative prompt; 0 without guidance."""
    sigma: float
    """Noise level of this call."""
    size: tuple[int, int]
    """Width and height of the whole picture's latents."""
    box: Box
    """Which part of them `latents` is: all, or that of an `Area`."""
    added_cond_kwargs: "Mapping[str, torch.Tensor] | None" = None
    """SDXL's pooled text and sizes."""
    down_block_additional_residuals: "tuple[torch.Tensor, ...] | None" = None
    """What a ControlNet adds to the UNet's way down; add yours to what is there (`plus`)."""
    mid_block_additional_residual: "torch.Tensor | None" = None
    down_intrablock_additional_residuals: "tuple[torch.Tensor, ...] | None" = None
    """What a T2I-Adapter adds."""
    cross_attention_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the attention processors are given."""

    def plus(self, down: "tuple[torch.Tensor, ...]", mid: "torch.Tensor") -> "UnetInputs":
        """The same with a ControlNet's residuals added to those that are there."""
        if self.down_block_additional_residuals is not None:
            down = tuple(a + b for a, b in zip(self.down_block_additional_residuals, down, strict=True))
        if self.mid_block_additional_residual is not None:
            mid = self.mid_block_additional_residual + mid
        return replace(self, down_block_additional_residuals=down, mid_block_additional_residual=mid)


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The network's predictions of one call, each (pictures, channels, height, width) in fp32."""

    guided: "torch.Tensor"
    """What classifier-free guidance and the extensions before made of the two."""
    noise_cond: "torch.Tensor"
    noise_uncond: "torch.Tensor"
    guidance_scale: float
    x: "torch.Tensor"
    """The noisy latents that were looked at."""
    sigma: float


class EngineHooks(Generic[OptionsType]):
    """What an extension does to one job. `engine.py` defines a subclass named `Engine`; each job makes a new one.

    A hook is called only if the subclass defines it, in the order of the extensions' names, always under
    `torch.inference_mode`. What a hook raises, a wrong shape or a wrong type it returns, switches the extension off for
    the rest of the job; a `UserError` is told as it is. The picture is made all the same.
    """

    def __init__(self, options: OptionsType, context: EngineContext) -> None:
        """Not for work: what takes time belongs into a hook, where it is measured."""
        self.options = options
        self.context = context
        self.tags: tuple[Tag, ...] = ()
        """In `before_save`: those of this extension's kinds in the prompts that the picture was made with."""

    def prepare(self, request: Request) -> Request:
        """Before everything: another request of the same kind, with as many pictures, made by `dataclasses.replace`.

        With wildcards it is called for each wording of the prompts. The picture's lossless metadata keeps the request
        as it was asked for, the infotext tells the changed one.
        """
        return request

    def patch(self, components: Components, tags: tuple[Tag, ...]) -> AbstractContextManager[None]:
        """Change the networks as long as the context lasts; afterwards every weight must be what it was, bit by bit.

        `tags` are those of this extension's kinds in the prompt, in order. Entered before the prompt is encoded, and
        again when the pass, its checkpoint or its tags change; else it stays from picture to picture.
        """
        return nullcontext()

    def conditioning(self, conditioning: Conditioning, step: Step) -> Conditioning:
        """Change the encoded prompt, before each step."""
        return conditioning

    def before_step(self, x: "torch.Tensor", step: Step) -> "torch.Tensor":
        """Change the noisy latents, (pictures, channels, height, width) fp32, before a step is made."""
        return x

    def unet_inputs(self, inputs: UnetInputs, step: Step) -> UnetInputs:
        """Change what the UNet is given, before each call; a step of some samplers has two or more."""
        return inputs

    def guidance(self, guidance: Guidance, step: Step) -> "torch.Tensor":
        """Combine the two predictions in another way; what is returned is `guided` for the next. With guidance only."""
        return guidance.guided

    def after_step(self, x: "torch.Tensor", pred_original: "torch.Tensor", step: Step) -> "torch.Tensor":
        """Change the noisy latents after a step; `pred_original` is the picture estimate, of the same shape."""
        return x

    def after_decode(self, image: "Image", picture: int) -> "Image":
        """Change a finished picture, RGB; it may come back in another size."""
        return image

    def before_save(self, image: "Image", picture: int) -> Mapping[str, str]:
        """Values that this picture's infotext tells beside its own, by name, e.g. {"Lora hashes": "…"}."""
        return {}


HOOKS = (
    "prepare", "patch", "conditioning", "before_step", "unet_inputs", "guidance", "after_step", "after_decode",
    "before_save",
)  # fmt: skip
"""The hooks in the order in which a job comes to them."""


@dataclass(frozen=True, kw_only=True)
class ServerContext:
    """What a server half knows."""

    name: str
    models_dir: Path
    data_dir: Path
    """A folder of the extension's own for what it keeps; made before the first call."""
    folder: Path
    """Where its files are; not to be written to."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """An extension's accordion in a form, below the controls of its options."""

    kind: str
    """"txt2img", "img2img" or "inpaint"."""
    controls: Mapping[str, Any]
    """The Gradio component of each option, by its name; its elem_id is "<kind>_<extension>_<option>"."""
    prompt_id: str
    """elem_id of the form's prompt, for what writes tags."""
    context: ServerContext


class UserInterface(Protocol):
    """What the module `ui.py` may define; each function is called only if it is there."""

    def panel(self, panel: Panel) -> None:
        """Add Gradio components of your own; called inside the accordion, once for each form."""

    def tab(self, context: ServerContext) -> None:
        """Fill a tab of your own, which carries the extension's title."""

    def routes(self, context: ServerContext) -> "APIRouter":
        """Routes of your own, found below /extensions/<name>/, behind the same checks as everything else."""


def hooks_of(engine: type[EngineHooks[Any]]) -> Iterator[str]:
    """Names of the hooks that a subclass defines, in the order of a job."""
    return (name for name in HOOKS if getattr(engine, name) is not getattr(EngineHooks, name))
