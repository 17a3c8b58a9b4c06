"""ComfyUI's prompt graph as values: from the sampler node back to the texts, the size and the checkpoint.

A graph is somebody's data: links may be wrong, circular or tens of thousands. Every walk visits a node once and is
bounded; what is not understood is left out and named.
"""

from collections import deque
from collections.abc import Iterator, Mapping

from webui.metadata.mapping import Mapped, as_number, as_object, show_all
from webui.metadata.names import of_comfyui
from webui.requests import ImageToImage, TextToImage
from webui.sentences import Sentence

_MAX_NODES = 5_000
_MAX_SAMPLERS = 20
_TEXTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "string", "prompt", "value", "wildcard_text", "populated_text")
_PARTS = ("guider", "sampler", "sigmas", "noise")
"""Inputs of SamplerCustomAdvanced whose nodes hold what KSampler holds itself."""
_NOT_TEXT = {"clip", "model", "vae", "image", "pixels", "control_net", "mask", "clip_vision", "samples", "latent_image"}
_NODES_NAMED = 30

Inputs = Mapping[str, object]


class Graph:
    """Nodes by id; each is a class and named inputs, an input being a value or a link [id, output]."""

    def __init__(self, prompt: Mapping[str, object]) -> None:
        self._nodes = {key: as_object(node) for key, node in prompt.items()}

    def __len__(self) -> int:
        return len(self._nodes)

    def kind(self, node: str) -> str:
        return str(self._nodes.get(node, {}).get("class_type", ""))

    def inputs(self, node: str) -> dict[str, object]:
        return as_object(self._nodes.get(node, {}).get("inputs"))

    def linked(self, value: object) -> str | None:
        """The node that a link leads to."""
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            node = str(value[0])
            return node if node in self._nodes else None
        return None

    def upstream(
        self, start: object, only: tuple[str, ...] = (), without: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Nodes from a link backwards, nearest first, through the inputs `only` (all when empty) except `without`."""
        first = self.linked(start)
        waiting = deque([] if first is None else [first])
        seen = set(waiting)
        while waiting:
            node = waiting.popleft()
            yield node
            for key, value in self.inputs(node).items():
                following = self.linked(value)
                if following is None or following in seen or key in without or (only and key not in only):
                    continue
                seen.add(following)
                waiting.append(following)

    def value(self, value: object, keys: tuple[str, ...]) -> object:
        """A plain value; of a link the first plain one that a node upstream holds under one of `keys`."""
        if self.linked(value) is None:
            return None if isinstance(value, list | dict) else value
        for node in self.upstream(value):
            for key in keys:
                found = self.inputs(node).get(key)
                if isinstance(found, str | int | float):
                    return found
        return None

    def samplers(self) -> Iterator[str]:
        """Nodes that denoise: they have a latent and either both conditionings or a guider."""
        for node in self._nodes:
            inputs = self.inputs(node)
            if "latent_image" in inputs and ({"positive", "negative"} <= inputs.keys() or "guider" in inputs):
                yield node


def read_graph(prompt: Mapping[str, object], text: str) -> Mapped | None:
    """What ComfyUI's `prompt` says; None when it is no such graph."""
    if not any(isinstance(node, dict) and "class_type" in node for node in prompt.values()):
        return None
    if len(prompt) > _MAX_NODES:
        return _refused(text, Sentence("Its graph has more than {most} nodes.", most=f"{_MAX_NODES:,}"))
    graph = Graph(prompt)
    samplers = [node for node, _ in zip(graph.samplers(), range(_MAX_SAMPLERS), strict=False)]
    if not samplers:
        return _refused(text, Sentence("Its graph has no sampler node that is known."))
    sampler = next((node for node in samplers if _empty_latent(graph, node)), samplers[0])
    mapped = _of_sampler(graph, sampler)
    mapped.parameters = text
    for other in samplers:
        if other != sampler:
            mapped.refuse(graph.kind(other), other, Sentence("It is another pass of the sampler."))
    return mapped.check()


def _refused(text: str, why: Sentence) -> Mapped:
    mapped = Mapped("ComfyUI")
    mapped.parameters = text
    mapped.refuse("prompt", "", why)
    return mapped


def _of_sampler(graph: Graph, node: str) -> Mapped:
    inputs = graph.inputs(node)
    for part in _PARTS:
        if linked := graph.linked(inputs.get(part)):
            inputs = graph.inputs(linked) | inputs
    denoise = as_number(graph.value(inputs.get("denoise"), ("denoise", "value", "float")))
    from_picture = not _empty_latent(graph, node) and denoise is not None and denoise < 1
    mapped = Mapped("ComfyUI", ImageToImage.kind if from_picture else TextToImage.kind)
    _take_texts(graph, inputs, mapped)
    _take_numbers(graph, inputs, mapped)
    if from_picture:
        mapped.take("denoise", "strength", denoise)
    _take_size(graph, node, inputs, mapped)
    _take_model(graph, inputs, mapped)
    return mapped


def _take_texts(graph: Graph, inputs: Inputs, mapped: Mapped) -> None:
    positive = inputs.get("positive", inputs.get("conditioning"))
    for name, field, link, other in (
        ("positive", "prompt", positive, "negative"),
        ("negative", "negative_prompt", inputs.get("negative"), "positive"),
    ):
        texts = list(dict.fromkeys(_texts(graph, link, other)))
        mapped.take(name, field, "\n".join(texts) if link is not None else None)
        mapped.show(name, "\n".join(texts) if texts else None)
        if len(texts) > 1:
            mapped.refuse(name, len(texts), Sentence("Several texts were combined; here they are one after the other."))


def _texts(graph: Graph, link: object, other: str) -> Iterator[str]:
    """Texts of the encoders that a conditioning comes from. Nodes such as ControlNet's hold both conditionings."""
    for node in graph.upstream(link, without=frozenset({*_NOT_TEXT, other})):
        inputs = graph.inputs(node)
        for key in _TEXTS:
            if isinstance(text := inputs.get(key), str) and text.strip():
                yield text


def _take_numbers(graph: Graph, inputs: Inputs, mapped: Mapped) -> None:
    for name, field in (("seed", "seed"), ("noise_seed", "seed"), ("steps", "num_inference_steps"),
                        ("cfg", "guidance_scale")):  # fmt: skip
        value = graph.value(inputs.get(name), (name, field, "value", "int", "float", "number"))
        mapped.show(name, value)
        mapped.take(name, field, value)
    named = graph.value(inputs.get("sampler_name"), ("sampler_name", "value"))
    scheduled = graph.value(inputs.get("scheduler"), ("scheduler", "value"))
    show_all(mapped, (("sampler_name", named), ("scheduler", scheduled)))
    sampler, schedule = of_comfyui(named, scheduled)
    mapped.take("scheduler", "schedule", schedule)
    mapped.take("sampler_name", "sampler", sampler)
    for name in ("start_at_step", "end_at_step"):
        value = as_number(inputs.get(name))
        if value is not None and not (value == 0 if name.startswith("start") else value >= 10_000):
            mapped.without_setting(name, value)


def _latents(graph: Graph, node: str) -> Iterator[tuple[str, Inputs]]:
    for found in graph.upstream(
        graph.inputs(node).get("latent_image"), ("samples", "latent_image", "latent", "pixels")
    ):
        yield found, graph.inputs(found)


def _empty_latent(graph: Graph, sampler: str) -> Inputs | None:
    """Inputs of the empty latent that a sampler begins with, when nothing was sampled into it before."""
    for node, inputs in _latents(graph, sampler):
        if "positive" in inputs or "guider" in inputs:
            return None
        if "Empty" in graph.kind(node) and {"width", "height"} <= inputs.keys():
            return inputs
    return None


def _take_size(graph: Graph, node: str, inputs: Inputs, mapped: Mapped) -> None:
    sized = _empty_latent(graph, node) or next(
        (latent for _, latent in _latents(graph, node) if {"width", "height"} <= latent.keys()), {}
    )
    for name in ("width", "height"):
        value = graph.value(sized.get(name), (name, "value", "int"))
        mapped.show(name, value)
        mapped.take(name, name, value)


def _take_model(graph: Graph, inputs: Inputs, mapped: Mapped) -> None:
    """The checkpoint, and on the way to it what changes the model."""
    start = inputs.get("model")
    for node in graph.upstream(start, ("model", "model1", "base_model")):
        values = graph.inputs(node)
        for name in ("ckpt_name", "unet_name", "model_name"):
            value = values.get(name)
            if isinstance(value, str) and "checkpoint" not in mapped.values:
                mapped.show(name, value)
                mapped.take(name, "checkpoint", without_suffix(value))
                return
        if len(mapped.unmapped) < _NODES_NAMED:
            mapped.without_setting(graph.kind(node), values.get("lora_name", ""))


def without_suffix(name: str) -> str:
    """Model file -> the name that people choose: no folder and no ending."""
    plain = name.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in (".safetensors", ".sft", ".ckpt", ".pt", ".gguf"):
        plain = plain.removesuffix(suffix)
    return plain
