"""From what somebody asks for to a request that can be carried out here: styles put in, the checkpoint's defaults
taken, wildcards drawn, every model and picture that it names looked up. Knows no jobs; trainings have
`train_names.settle`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from webui.errors import InvalidRequest, UnknownName
from webui.extensions.options import Values
from webui.inputs import Inputs
from webui.library import Library
from webui.options import OptionsFile
from webui.params import parameters
from webui.prompts import PromptDesk
from webui.registry import LATENT_UPSCALERS
from webui.request_base import Request
from webui.requests import REQUESTS, PictureRequest, TextToImage, build, resolve
from webui.upscale_request import Upscale

PROMPTS = ("prompt", "negative_prompt")
KINDS = ("txt2img", "img2img", "inpaint")


class Intake:
    """Safe to use from any thread; keeps nothing."""

    def __init__(
        self,
        library: Library,
        options: OptionsFile,
        inputs: Inputs,
        prompts: PromptDesk,
        upscalers: Callable[[], Sequence[str]],
        extensions: Callable[[Values], dict[str, dict[str, Any]]],
    ) -> None:
        """`upscalers` are those that are here; `extensions` checks what extensions are told, and raises."""
        self._library, self._options = library, options
        self._inputs, self._prompts, self._upscalers, self._extensions = inputs, prompts, upscalers, extensions

    def request(self, kind: str, values: Mapping[str, Any], *, is_draft: bool = False) -> Request:
        """A resolved request for a picture or an enlargement. The pictures of a draft are not looked for.

        Raises `InvalidRequest`, `UnknownName`, `CheckpointError`, or `NotFound` for a picture that was not uploaded.
        """
        if kind not in (*KINDS, Upscale.kind):
            raise UnknownName("kind of job", kind, (*KINDS, Upscale.kind))
        request = self.upscale(values) if kind == Upscale.kind else self._picture(kind, values)
        for input_id in () if is_draft else request.inputs:
            self._inputs.check(input_id)
        return request

    def upscale(self, values: Mapping[str, Any]) -> Upscale:
        """An enlargement whose upscalers are there; its picture is not looked for. Raises as `request` does."""
        request = build(Upscale.kind, values)
        assert isinstance(request, Upscale)
        for name in (request.upscaler, request.second_upscaler):
            self._check_upscaler(name, self._upscalers())
        return request

    def _picture(self, kind: str, values: Mapping[str, Any]) -> PictureRequest:
        name = values.get("checkpoint", "")
        if not isinstance(name, str):
            raise InvalidRequest("The checkpoint must be a name.")
        passport = self._library.find(name, self._options.current.default_checkpoint)
        fields = parameters(REQUESTS[kind])
        # What a person keeps of a checkpoint may be for other kinds of picture as well.
        others = {name for other in KINDS for name in parameters(REQUESTS[other])} - fields.keys()
        defaults = {name: value for name, value in passport.defaults.items() if name not in others}
        request = resolve(build(kind, {**defaults, **values, "checkpoint": passport.name}))
        assert isinstance(request, PictureRequest)
        if request.wordings:  # drawn here and nowhere else
            raise UnknownName("field", "wordings", parameters(type(request)))
        self._check_names(request)
        preview = request.preview if self._options.current.live_previews else "Off"
        return self._prompts.worded(replace(request, preview=preview, extensions=self._extensions(request.extensions)))

    def _check_names(self, request: PictureRequest) -> None:
        for other in (request.refiner, getattr(request, "hires_checkpoint", "")):
            if other:
                self._library.find(other)
        if request.vae and request.vae not in self._library.shelf("vae"):
            raise UnknownName("VAE", request.vae, self._library.shelf("vae"))
        if isinstance(request, TextToImage) and request.hires:
            self._check_upscaler(request.hires_upscaler, (*LATENT_UPSCALERS, *self._upscalers()))

    @staticmethod
    def _check_upscaler(name: str, known: Sequence[str]) -> None:
        if name not in known:
            raise UnknownName("upscaler", name, known)

    def styled(self, kind: str, values: Mapping[str, Any], styles: Sequence[str]) -> Mapping[str, Any]:
        """`values` with the styles in its prompts. What is no text is left for the request type to refuse.

        Raises `UnknownName`, or `InvalidRequest` for styles where there is no prompt.
        """
        if not styles:
            return values
        if not set(PROMPTS) <= set(parameters(REQUESTS[kind])):
            raise InvalidRequest("A job of kind {kind} has no prompt that styles could be put into.", kind=kind)
        prompt, negative_prompt = (values.get(name, "") for name in PROMPTS)
        if not isinstance(prompt, str) or not isinstance(negative_prompt, str):
            return values
        return {**values, **dict(zip(PROMPTS, self._prompts.styled(prompt, negative_prompt, styles), strict=True))}
