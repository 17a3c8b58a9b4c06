"""Which tool made a picture, and what it says: the readers of all tools in their order.

A picture that no reader knows gives an empty `tool`, which a page shows as "not recognised".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.metadata.comfyui import read_graph
from webui.metadata.containers import JSON_KEY, TEMPLATES, TEXT_KEY, Texts, texts_of
from webui.metadata.fooocus import read_fooocus
from webui.metadata.infotext import split
from webui.metadata.invokeai import read_invokeai
from webui.metadata.mapping import Mapped, Unmapped, as_object, read_json, show_all
from webui.metadata.novelai import read_novelai
from webui.metadata.stealth import hidden_text
from webui.metadata.webuis import of_infotext
from webui.params import parameters
from webui.requests import REQUESTS, PictureRequest, TextToImage
from webui.sentences import Sentence


@dataclass(frozen=True, kw_only=True)
class PictureMetadata:
    """What a picture file says about how it was made."""

    parameters: str
    """The text as found: an infotext, or another tool's JSON; "" when there is none."""
    values: Mapping[str, Any]
    """Values of a request of `kind` that makes this picture again, all of them possible; from our JSON or else from
    the text. A checkpoint's name is as the picture has it, whether or not it is here."""
    is_ours: bool
    tool: str = ""
    """ "Easel", "AUTOMATIC1111", "Forge", "SD.Next", "ComfyUI", "InvokeAI", "Fooocus", "NovelAI"; "" when nothing was
    recognised."""
    kind: str = TextToImage.kind
    """Kind of request, a key of `REQUESTS`. The pictures that it begins with are never in here."""
    fields: Mapping[str, str]
    """Everything the picture says under the names that it uses."""
    unmapped: tuple[Unmapped, ...] = ()
    """What `values` do not hold, or hold changed, with the reason."""


def read(source: Path | bytes, *, hidden: bool = True) -> PictureMetadata:
    """What the picture says about itself; nothing found gives empty values. Raises `InvalidRequest` for no picture.

    Reads PNG, JPEG and WebP. Takes time linear in the texts, which are bounded; pixels are decoded only when no
    reader knows a text, to look for one hidden in them, and without `hidden` never.
    """
    texts = texts_of(source)
    own = _own(texts.found)
    mapped = own or _of_others(texts.found)
    if mapped is None and hidden and texts.may_hide and (found := hidden_text(source)):
        mapped = _of_hidden(found)
    mapped = mapped or _not_recognised(texts)
    for key in texts.unread:
        mapped.refuse(key, "", Sentence("It is damaged, or too long to be read."))
    return _metadata(mapped, texts.found.get(TEXT_KEY, ""), is_ours=own is not None)


def read_text(text: str) -> PictureMetadata:
    """What a text says that stood in a picture or could: an infotext or another tool's; else all of it is a prompt."""
    found = {TEXT_KEY: text}
    return _metadata(_of_others(found) or _not_recognised(Texts(found)), text, is_ours=False)


def _metadata(mapped: Mapped, text: str, *, is_ours: bool) -> PictureMetadata:
    return PictureMetadata(
        parameters=text or mapped.parameters,
        values=mapped.values,
        is_ours=is_ours,
        tool=mapped.tool,
        kind=mapped.kind,
        fields=mapped.fields,
        unmapped=tuple(mapped.unmapped),
    )


def _own(texts: Mapping[str, str]) -> Mapped | None:
    """Our JSON, checked: whoever wrote it, its values reach a request only if they are possible."""
    found = as_object(read_json(texts.get(JSON_KEY, "")))
    kind = found.pop("kind", TextToImage.kind)
    if not found or not isinstance(kind, str) or not issubclass(REQUESTS.get(kind, object), PictureRequest):
        return None
    mapped = Mapped("Easel", kind)
    mapped.parameters = texts.get(TEXT_KEY, "")
    show_all(mapped, split(mapped.parameters)[2].items())
    known = parameters(REQUESTS[kind])
    for name, template in as_object(found.pop(TEMPLATES, None)).items():
        mapped.show(f"Template of {name}", template)
    for name, value in found.items():
        if name in ("image", "mask"):
            continue  # a person gives them anew
        if name != "sampler" and name in known:  # a joined sampler name must not overwrite the schedule
            mapped.take(name, name, value)
        elif name not in known:
            mapped.without_setting(name, value)
    mapped.take("sampler", "sampler", found.get("sampler"))
    return mapped.check()


def _of_others(texts: Mapping[str, str]) -> Mapped | None:
    parameters_text = texts.get(TEXT_KEY, "")
    if mapped := read_fooocus(parameters_text):
        return mapped
    if split(parameters_text)[2]:  # also written by ComfyUI's nodes that save for other tools
        return of_infotext(parameters_text)
    graph = as_object(read_json(texts.get("prompt", "")))
    mapped = read_graph(graph, texts.get("prompt", "")) if graph else None
    return mapped or read_invokeai(texts) or read_novelai(texts)


def _of_hidden(text: str) -> Mapped | None:
    """A hidden text is an infotext, or NovelAI's text chunks as one JSON object."""
    found = as_object(read_json(text)) if text.lstrip()[:1] == "{" else {}
    if found:
        return read_novelai({key: value for key, value in found.items() if isinstance(value, str)})
    return of_infotext(text) if split(text)[2] else None


def _not_recognised(texts: Texts) -> Mapped:
    """Nothing that can be used: texts are shown, and one that may be a prompt is offered as one."""
    mapped = Mapped("")
    text = texts.found.get(TEXT_KEY, "")
    if text and not text.lstrip().startswith(("{", "[")):
        mapped = of_infotext(text)
    show_all(mapped, texts.found.items())
    return mapped
