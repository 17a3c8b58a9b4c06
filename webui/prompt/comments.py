"""Comments: from # to the end of the line. `\\#` is a plain #, as a colour needs it."""

import re

_WHOLE_LINE = re.compile(r"(?:^|\n)#[^\n]*+(?:\n|$)")
_REST_OF_LINE = re.compile(r"(?<!\\)#[^\n]*+(?:\n|$)")


def without_comments(prompt: str) -> str:
    """The prompt without its comments; a line that is nothing else goes with its newline."""
    return _REST_OF_LINE.sub("\n", _WHOLE_LINE.sub("\n", prompt))
