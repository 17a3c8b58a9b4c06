"""Calls the hooks of the extensions that take part in a job: in order, timed, and never at the job's expense.

What a hook may do is said in `webui/extension.py`, what it gives is checked in `extension_border`. Which extensions may
run at all is known to the shelf.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL.Image import Image

from webui.contract import Job
from webui.engine import memory
from webui.engine.extension_border import (
    WrongResult,
    check_conditioning,
    checked,
    our_conditioning,
    same_shape,
    their_components,
    their_conditioning,
)
from webui.engine.loading.weights import open_weights
from webui.engine.models import Components
from webui.engine.prediction import Read
from webui.engine.receipt import Receipt
from webui.engine.stopwatch import Stopwatch
from webui.engine.text import Conditioning
from webui.errors import UserError
from webui.events import Warning
from webui.extension import Conditioning as TheirConditioning
from webui.extension import EngineContext, EngineHooks, Guidance, Step, UnetInputs, Weights, hooks_of
from webui.extensions.manifest import Folder
from webui.extensions.modules import described, import_half
from webui.extensions.options import options_of
from webui.extensions.probe import engine_of
from webui.extensions.shelf import Shelf
from webui.library import Library
from webui.prompt.tags import Tag, take_tags
from webui.prompt.wildcards import may_be_drawn
from webui.requests import PictureRequest, TextToImage, construct
from webui.sentences import Sentence

log = logging.getLogger(__name__)

Result = TypeVar("Result")
AnyHooks = EngineHooks[Any]
"""An extension's hooks; its options are of a class that only it knows."""


@dataclass
class Part:
    """An extension that takes part in the job."""

    folder: Folder
    hooks: AnyHooks
    defined: frozenset[str]
    patches: ExitStack = field(default_factory=ExitStack)
    is_off: bool = False

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(self.folder.manifest.tags)


class Runner:
    """The extensions of one job. What they have to say waits in `taken_warnings`; `close` undoes their patches."""

    def __init__(
        self,
        parts: Sequence[Part] = (),
        stopwatch: Stopwatch | None = None,
        *,
        forget: Callable[[], None] = lambda: None,
        warnings: list[Warning] | None = None,
    ) -> None:
        """`forget` throws the checkpoint in memory away: a patch may have left it damaged."""
        self._parts = parts
        self._stopwatch = stopwatch or Stopwatch()
        self._forget = forget
        self._warnings: list[Warning] = [] if warnings is None else warnings
        self._held: object = None
        self._held_components: Components | None = None
        self.step: Step | None = None

    def __bool__(self) -> bool:
        return bool(self._parts)

    def taken_warnings(self) -> list[Warning]:
        """What has been said since the last call."""
        taken, self._warnings[:] = list(self._warnings), []
        return taken

    def knows(self, tag: Tag) -> bool:
        return any(tag.kind in part.tags for part in self._parts)

    # The hooks, in the order of a job.

    def prepare(self, request: PictureRequest) -> PictureRequest:
        for part in self._with("prepare"):
            with self._call(part, "prepare"):
                prepared = part.hooks.prepare(request)
                if type(prepared) is not type(request) or prepared.pictures != request.pictures:
                    raise WrongResult("another kind of request, or one for another number of pictures")
                assert isinstance(prepared, PictureRequest)
                request = prepared
        return request

    def hold(self, components: Components, tags: tuple[Tag, ...]) -> None:
        """Have the patches for this checkpoint and these tags in place; what is in place already stays."""
        patching = list(self._with("patch"))
        key = (id(components.unet), tuple(tag for tag in tags if self.knows(tag)))
        if key == self._held or not (patching or self._held):
            return
        self.release()
        self._held, self._held_components = key, components
        theirs = their_components(components)
        for part in patching:
            own = tuple(tag for tag in tags if tag.kind in part.tags)
            with self._call(part, "patch"):
                part.patches.enter_context(part.hooks.patch(theirs, own))
        components.prompts.forget()

    def release(self) -> None:
        """Take all patches out, the last one first."""
        for part in reversed(self._parts):
            self._unpatch(part)
        if self._held_components is not None:
            self._held_components.prompts.forget()
        self._held, self._held_components = None, None

    close = release

    def conditioning(self, conditioning: Conditioning, read: Read) -> Conditioning:
        step = self.step
        if step is None or not self._has("conditioning"):
            return conditioning
        theirs = their_conditioning(conditioning, self._reader(read, step))
        for part, _ in self._in_step("conditioning"):
            with self._call(part, "conditioning"):
                changed = part.hooks.conditioning(theirs, step)
                check_conditioning(changed, theirs, step)
                theirs = changed
        return our_conditioning(theirs)

    def _reader(self, read: Read, step: Step) -> Callable[[str, str | None], TheirConditioning]:
        """`read` as extensions have it. What has no effect in the prompt of an area is told."""

        def read_here(prompt: str, negative_prompt: str | None) -> TheirConditioning:
            planned = read(prompt, negative_prompt)
            told = [_lost(tag) for tag in planned.tags]
            told += [_undrawn(text) for text in (prompt, negative_prompt or "") if may_be_drawn(text)]
            unfit = planned.unfit_embeddings.items()
            told += [Sentence("The embedding '{name}' has no effect: {why}", name=name, why=why) for name, why in unfit]
            self._warnings += [Warning(text=each) for each in told]
            return their_conditioning(planned.at(step.index, len(step.pictures)), read_here)

        return read_here

    def before_step(self, x: torch.Tensor) -> torch.Tensor:
        for part, step in self._in_step("before_step"):
            with self._call(part, "before_step"):
                x = checked(part.hooks.before_step(x, step), x)
        return x

    def unet_inputs(self, inputs: UnetInputs) -> UnetInputs:
        for part, step in self._in_step("unet_inputs"):
            with self._call(part, "unet_inputs"):
                changed = part.hooks.unet_inputs(inputs, step)
                if not isinstance(changed, UnetInputs):
                    raise WrongResult(f"{type(changed).__name__} instead of UnetInputs")
                same_shape(changed.latents, inputs.latents)
                inputs = changed
        return inputs

    def guidance(self, guidance: Guidance) -> torch.Tensor:
        for part, step in self._in_step("guidance"):
            with self._call(part, "guidance"):
                guided = checked(part.hooks.guidance(guidance, step), guidance.guided)
                guidance = replace(guidance, guided=guided)
        return guidance.guided

    def after_step(self, x: torch.Tensor, pred_original: torch.Tensor) -> torch.Tensor:
        for part, step in self._in_step("after_step"):
            with self._call(part, "after_step"):
                x = checked(part.hooks.after_step(x, pred_original, step), x)
        return x

    def after_decode(self, image: Image, picture: int) -> Image:
        for part in self._with("after_decode"):
            with self._call(part, "after_decode"):
                changed = part.hooks.after_decode(image, picture)
                if not isinstance(changed, Image) or changed.mode != "RGB":
                    raise WrongResult("no picture in RGB")
                image = changed
        return image

    def before_save(self, image: Image, picture: int, tags: tuple[Tag, ...]) -> dict[str, str]:
        """What the infotext tells beside its own; `tags` are those of all passes of that picture."""
        told: dict[str, str] = {}
        for part in self._with("before_save"):
            part.hooks.tags = tuple(tag for tag in tags if tag.kind in part.tags)
            with self._call(part, "before_save"):
                told |= {str(key): str(value) for key, value in part.hooks.before_save(image, picture).items()}
        return told

    # How they are called.

    def _has(self, hook: str) -> bool:
        return any(True for _ in self._with(hook))

    def _with(self, hook: str) -> Iterator[Part]:
        return (part for part in self._parts if hook in part.defined and not part.is_off)

    def _in_step(self, hook: str) -> Iterator[tuple[Part, Step]]:
        step = self.step
        return iter(()) if step is None else ((part, step) for part in self._with(hook))

    @contextmanager
    def _call(self, part: Part, hook: str) -> Iterator[None]:
        """Time a hook; one that fails switches its extension off, but for what means that memory is short."""
        try:
            with torch.inference_mode(), self._stopwatch.phase(f"{part.folder.name}.{hook}"):
                yield
        except (Exception, SystemExit) as error:
            if memory.is_out_of_memory(error):
                raise
            log.warning("%s of extension %s failed", hook, part.folder.name, exc_info=True)
            part.is_off = True
            self._warn(part.folder, _failure(part.folder, hook, error))
            self._unpatch(part)

    def _unpatch(self, part: Part) -> None:
        try:
            with torch.inference_mode(), self._stopwatch.phase(f"{part.folder.name}.patch"):
                part.patches.close()
        except (Exception, SystemExit) as error:
            log.error("extension %s did not undo its patch", part.folder.name, exc_info=True)
            part.is_off = True
            part.patches = ExitStack()
            self._forget()
            self._warn(part.folder, _failure(part.folder, "patch", error))

    def _warn(self, folder: Folder, told: Sentence) -> None:
        self._warnings.append(Warning(text=told, extension=folder.name))


class EngineExtensions:
    """What an engine has of extensions between jobs: the shelf, and each one's cache."""

    def __init__(self, shelf: Shelf | None, models_dir: Path, library: Library) -> None:
        self._shelf = shelf
        self._models_dir = models_dir
        self._library = library
        self._caches: dict[str, tuple[str, MutableMapping[str, Any]]] = {}

    def clear(self) -> None:
        """Forget what extensions keep from job to job: networks too may be among it."""
        self._caches.clear()

    def begin(
        self,
        job: Job,
        request: PictureRequest,
        components: Components,
        stopwatch: Stopwatch,
        receipt: Receipt,
        forget: Callable[[], None],
    ) -> Runner:
        """The extensions that take part: those with options in the request, and those that a tag names."""
        enabled = {} if self._shelf is None else dict(self._shelf.enabled())
        warnings: list[Warning] = []
        for name in request.extensions:
            if name not in enabled:
                told = Sentence("The extension '{name}' is not enabled here: it had no part in the picture.", name=name)
                warnings.append(Warning(text=told))
        kinds = {tag.kind for tag in _tags(request)}
        parts: list[Part] = []
        for name, folder in enabled.items():
            if folder.has("engine") and (name in request.extensions or kinds & set(folder.manifest.tags)):
                parts += self._part(folder, job, request, components, receipt, warnings)
        return Runner(parts, stopwatch, forget=forget, warnings=warnings)

    def _part(
        self, folder: Folder, job: Job, request: PictureRequest, components: Components, receipt: Receipt,
        warnings: list[Warning],
    ) -> Iterator[Part]:  # fmt: skip
        """One, or none when it cannot be made."""
        context = EngineContext(
            request=request, models_dir=self._models_dir, models=self._models, folder=folder.path, inputs=job.inputs,
            device=components.device, dtype=components.dtype, read_weights=read_weights, cache=self._cache(folder),
            warn=lambda told: warnings.append(Warning(text=told)), note=receipt.note,
        )  # fmt: skip
        try:
            engine = engine_of(folder)
            options = _options(folder, request.extensions.get(folder.name, {}))
            hooks = engine(options, context)
        except (Exception, SystemExit) as error:
            log.warning("extension %s cannot take part", folder.name, exc_info=True)
            told = error.sentence if isinstance(error, UserError) else _failure(folder, "__init__", error)
            warnings.append(Warning(text=told, extension=folder.name))
            return
        yield Part(folder, hooks, frozenset(hooks_of(engine)))

    def _models(self, shelf: str) -> dict[str, Path]:
        """Raises `KeyError` for a shelf that there is none of."""
        return {name: item.path for name, item in self._library.shelf(shelf, again=True).items()}

    def _cache(self, folder: Folder) -> MutableMapping[str, Any]:
        """Another state of its files begins with an empty one."""
        digest, cache = self._caches.get(folder.name, ("", {}))
        if digest != folder.digest:
            cache = {}
            self._caches[folder.name] = (folder.digest, cache)
        return cache


def read_weights(path: Path) -> Weights:
    """Everything in a model file. Raises `CheckpointError`."""
    opened = open_weights(path)
    return Weights(opened.read(opened.shapes), opened.metadata)


def _options(folder: Folder, values: Mapping[str, Any]) -> object:
    """The options of the job; None for an extension without any."""
    if not folder.has("options"):
        return None
    return construct(options_of(import_half(folder, "options"), folder.manifest.title), values)


def _tags(request: PictureRequest) -> tuple[Tag, ...]:
    """In any prompt of the request and of what it branches from, before it is read in earnest."""
    names = ("prompt", "hires_prompt") if isinstance(request, TextToImage) else ("prompt",)
    prompts = {said for name in names for said in request.wordings.get(name, [getattr(request, name)])}
    own = tuple(tag for prompt in prompts for tag in take_tags(prompt)[1])
    return own if request.origin is None else (*own, *_tags(request.origin))


def _lost(tag: Tag) -> Sentence:
    written = f"<{tag.kind}:{tag.name}>"
    return Sentence("“{tag}” has no effect in the prompt of an area: write it into that of the picture.", tag=written)


def _undrawn(text: str) -> Sentence:
    return Sentence(
        "Nothing is drawn in the prompt of an area: “{words}” is read as it is written there.", words=text[:80]
    )


def _failure(folder: Folder, hook: str, error: BaseException) -> Sentence:
    title = folder.manifest.title
    if isinstance(error, UserError):
        return Sentence("{title} was switched off for this job: {reason}", title=title, reason=error.sentence)
    if isinstance(error, WrongResult):
        return Sentence(
            "{title} was switched off for this job: its hook {hook} gave {what}.",
            title=title, hook=hook, what=str(error),
        )  # fmt: skip
    return Sentence(
        "{title} was switched off for this job: its hook {hook} ended with {error}.",
        title=title, hook=hook, error=described(error),
    )  # fmt: skip
