"""The language of an axis's values: lists with quotes, ranges, counts; AUTOMATIC1111's. Knows no requests.

20, 30, "a, b"      a list; quotes keep commas
1-5                 1, 2, 3, 4, 5
1-10 (+4)           1, 5, 9
10-5 (-3)           10, 7
1-10 [5]            five numbers over the range, both ends included: 1, 3, 5, 7, 10
"""

import csv
import io
import re
from typing import TypeVar

from webui.extension import InvalidRequest, Sentence

Value = TypeVar("Value", str, int, float)

MOST = 1000
"""Values of one axis."""
WHOLE, DECIMAL = r"[+-]?\d{1,18}", r"[+-]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})"
"""No number of a request is longer; of longer ones no range can be counted."""
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def split(text: str) -> list[str]:
    """The values of a list. Raises `InvalidRequest` when it has none or too many."""
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error as error:
        raise InvalidRequest("The list of values cannot be read: {reason}.", reason=str(error)) from error
    values = [value.strip() for row in rows for value in row if value.strip()]
    if not values:
        raise InvalidRequest("An axis needs values: write them as a list, 20, 30, or as a range, 1-5.")
    return _limited(values)


def whole_numbers(text: str) -> list[int]:
    """Numbers and ranges of them. Raises `InvalidRequest`."""
    return _limited([number for value in split(text) for number in _whole(value)])


def decimals(text: str) -> list[float]:
    """Numbers and ranges of them. Raises `InvalidRequest`."""
    return _limited([number for value in split(text) for number in _decimal(value)])


def booleans(text: str) -> list[bool]:
    """Raises `InvalidRequest`."""
    for value in (values := split(text)):
        if value.lower() not in (*TRUE, *FALSE):
            raise InvalidRequest("'{value}' is neither true nor false.", value=value[:80])
    return [value.lower() in TRUE for value in values]


def joined(values: list[str]) -> str:
    """A list that `split` takes apart again."""
    return ", ".join(
        f'"{value.replace(chr(34), chr(34) * 2)}"' if set(value) & set(',"\n') else value for value in values
    )


def _whole(value: str) -> list[int]:
    if parts := _range(value, WHOLE):
        start, end, step, count = int(parts[0]), int(parts[1]), parts[2], parts[3]
        if count:
            return [int(number) for number in _spread(start, end, int(count))]
        return [round(number) for number in _stepped(start, end, int(step) if step else None)]
    try:
        return [int(value)]
    except ValueError:
        raise _no_number(value, Sentence("a whole number")) from None


def _decimal(value: str) -> list[float]:
    if parts := _range(value, DECIMAL):
        start, end, step, count = float(parts[0]), float(parts[1]), parts[2], parts[3]
        if count:
            return [round(number, 10) for number in _spread(start, end, int(count))]
        return [round(number, 10) for number in _stepped(start, end, float(step) if step else None)]
    try:
        return [float(value)]
    except ValueError:
        raise _no_number(value, Sentence("a number")) from None


def _range(value: str, number: str) -> tuple[str, str, str, str] | None:
    """Start, end, step and count, the last two "" where they are not said."""
    match = re.fullmatch(rf"({number})\s*-\s*({number})\s*(?:\(\s*({number})\s*\)|\[\s*(\d{{1,9}})\s*\])?", value)
    return None if match is None else (match[1], match[2], match[3] or "", match[4] or "")


def _spread(start: float, end: float, count: int) -> list[float]:
    if count < 2:
        return [start] * count
    _limit(count)
    return [start + (end - start) * i / (count - 1) for i in range(count)]


def _stepped(start: float, end: float, step: float | None) -> list[float]:
    if step is None:
        step = 1.0 if end >= start else -1.0
    if not step or (end - start) * step < 0:
        raise InvalidRequest(
            "The range from {start} to {end} is never left in steps of {step}.", start=start, end=end, step=step
        )
    count = int((end - start) / step + 1e-9) + 1
    _limit(count)
    return [start + step * i for i in range(count)]


def _limited(values: list[Value]) -> list[Value]:
    _limit(len(values))
    return values


def _limit(count: int) -> None:
    if count > MOST:
        raise InvalidRequest("{count} values are too many for an axis; {most} are possible.", count=count, most=MOST)


def _no_number(value: str, wanted: Sentence) -> InvalidRequest:
    return InvalidRequest(
        "'{value}' is not {wanted}, nor a range such as 1-5, 1-10 (+2) or 1-10 [5].", value=value[:80], wanted=wanted
    )
