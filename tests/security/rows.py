"""The rows of the security plan about network, uploads, files, API and metadata: what is tried, what is promised.

The ids are those of the plan. A test shows a row by the mark `row`; `report.py` makes docs/reliability.md of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing that somebody may try."""

    tried: str
    promised: str


ROWS: Mapping[str, Row] = {
    "F1": Row("`file=` with ways out of the folder in every spelling", "refused; existing and missing look alike"),
    "F2": Row("`file=` with Easel's own sources, database, options, lock", "refused"),
    "F3": Row("`file=` with Windows, network and device names", "refused, nothing is opened or fetched"),
    "F5": Row("picture routes with negative, huge, foreign or SQL-like ids", "404"),
    "F6": Row("HTML and SVG in the outputs folder, also under `.png`", "never listed, never served"),
    "F7": Row("links, pipes and devices in the outputs folder", "not followed, not listed, no waiting"),
    "F9": Row("deleting, moving and renaming by path instead of id", "refused, or nothing is found; no file changes"),
    "F10": Row("previews and metadata of models outside the folders", "404"),
    "F11": Row("hostile words where a file's name could come from them", "names are number and seed alone"),
    "F13": Row("asking whether a path exists", "no route takes one, but the operator's installation"),
    "F14": Row("crafted names in archives, coming in and going out", "flat names of their own, or refused as a whole"),
    "F15": Row("circular links, unreadable and unspeakable names among models", "left out and told; others are listed"),
    "N1": Row("foreign, doubled, empty or almost right Host", "421, nothing else happens"),
    "N2": Row("foreign, `null` and local-but-other Origin", "403, for sockets and streams too; nothing is changed"),
    "N3": Row("a form of another site sent to every unsafe route", "403; without an Origin 4xx and nothing is changed"),
    "N5": Row("DNS rebinding", "421 as soon as the name is another one"),
    "N6": Row("pictures and data loaded by another site", "403, and Cross-Origin-Resource-Policy"),
    "N7": Row("the page in a frame of another site", "not shown"),
    "N9": Row("guessing tokens", "compared in constant time; 429 after twenty, logged"),
    "N10": Row("the one-time link a second time", "401"),
    "N11": Row("what the cookie gives away", "HttpOnly, SameSite=Strict, no token; no secret in the log"),
    "N13": Row("guessing the id of a job or a picture", "404; 80 random bits and more"),
    "N14": Row("hundreds of connections that say nothing, hundreds that watch", "others are answered as ever"),
    "N15": Row("headers of a megabyte, thousands of them, no UTF-8", "4xx; the server goes on"),
    "N17": Row("`--host` with an address that others can reach", "counts as --listen"),
    "N18": Row("connections to other machines", "none, and addresses in requests are refused"),
    "U1": Row("empty, tiny and cut off pictures", "422 in a sentence"),
    "U3": Row("pictures whose header claims too many pixels", "422 before they are decoded"),
    "U4": Row("pictures of an impossible shape", "422, or a defined result"),
    "U5": Row("bombs in text chunks and profiles, thousands of chunks", "passed over; never 500"),
    "U7": Row("animations of many frames", "the first frame, nothing else is decoded"),
    "U8": Row("the eight ways of holding a camera", "upright"),
    "U9": Row("every way of storing pixels, broken colour profiles", "RGB of 8 bit, or a sentence"),
    "U11": Row("masks that are all black, all white, of another size, of one pixel", "a defined result or a sentence"),
    "U12": Row("forged values of Gradio's own controls", "no Python runs behind any control"),
    "U13": Row("uploads that are too large, uploads that nobody uses", "413; removed after a month"),
    "U15": Row("the same picture from many tabs", "kept once, under the hash of its pixels"),
    "U16": Row("file names with ways out, NUL, thousands of characters", "names of files are never taken for paths"),
    "U17": Row("uploads that end half-way", "nothing stays behind"),
    "A1": Row("everything that the OpenAPI document allows, and more", "no 5xx; answers fit the document"),
    "A2": Row("NaN, infinity, 2^64, booleans, texts and lists for every number", "422 naming the field"),
    "A3": Row("the largest sizes, steps and batches, alone and together", "422 at once"),
    "A5": Row("bodies that are no JSON, too deep, too long, with halves of characters", "4xx, the server goes on"),
    "A6": Row("wrong methods, trailing slashes, `%00`, `//`", "404, 405 or 307"),
    "A7": Row("what clients of AUTOMATIC1111 send", "works, or 4xx naming the field"),
    "A9": Row("settings that are none, paths, `__class__`", "4xx, nothing is changed"),
    "A10": Row("events and progress of unknown jobs, a senseless Last-Event-ID", "404, or a fresh beginning"),
    "A11": Row("a thousand questions about progress at once", "all answered"),
    "M1": Row("prompts of any characters into every format and back", "the same"),
    "M3": Row("metadata naming what is not here", "told, never replaced"),
    "M4": Row("markup in every field of the metadata", "shown as text"),
    "M5": Row("pictures of other tools", "read, or said to be unknown"),
    "M7": Row("chunks doubled, packed, of wrong encodings, cut off", "the first that can be read; no error"),
    "M8": Row("copies without metadata", "hold no word of the prompt, in no byte"),
    "M9": Row("EXIF of uploaded pictures", "does not go into results"),
    "M11": Row("a picture made again from its own metadata", "the same bytes"),
    "M12": Row("many pictures in the same second", "names of their own, none is overwritten"),
}  # fmt: skip

NOT_HERE: Mapping[str, str] = {
    "M13": "Easel exports no tables. `styles.csv` is AUTOMATIC1111's file and is written exactly as it is read.",
}
"""Rows that nothing here answers to, and why."""
