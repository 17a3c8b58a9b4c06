"""Whatever the server says to a person in the page can be said in every language."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from webui import errors
from webui.api.sdapi.lists import ABSENT
from webui.contract import Signal
from webui.errors import UserError
from webui.events import JobState
from webui.params import parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS
from webui.scripts.records import RunState
from webui.sentences import PLACEHOLDER, Sentence
from webui.settings import ROOT

CONSOLE_ONLY = (
    "webui/bench.py", "webui/bench_api.py", "webui/checks.py", "webui/cli.py", "webui/extensions/command.py",
    "webui/generate.py",
    "webui/jobs/schema.py", "webui/lock.py", "webui/library/trees.py", "webui/startup.py", "webui/train.py",
    "webui/training/embedded/", "webui/upscale.py",
)  # fmt: skip
"""Commands, and what prevents the start: no page is there to show it."""

ERRORS = ROOT / "webui" / "errors.py"
FIELDS = [field.param for kind in REQUESTS for field in parameters(REQUESTS[kind]).values()]
LABELS = {field.label for field in FIELDS}
COMPUTED: dict[str, set[str]] = {
    "ABSENT[path]": set(ABSENT.values()),
    "template": set(),  # in UserError itself
    "what": {*CHOICES, "extension", "value", "prompt", "negative prompt", "dataset", "first stage"},
    "declared.param.label": LABELS,
    "parameters(type(self))[name].param.label": LABELS,
    "param.help": {field.help for field in FIELDS},
    "record.state.value": {str(state) for state in JobState},
    "self._store.job(job_id).state.value": {str(state) for state in JobState},
    "self._store.run(run_id).state.value": {str(state) for state in RunState},
    "signal.value": {str(signal) for signal in Signal},
}
"""Templates that are not written where they are used: the expression -> everything it can be."""


@dataclass(frozen=True)
class Said:
    """One place in the source that makes a sentence."""

    place: str
    template: ast.expr
    values: frozenset[str]


def plain_errors() -> set[str]:
    """Errors that are raised with a template and values, not with arguments of their own."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UserError)]
    return {kind.__name__ for kind in kinds if kind.__init__ is UserError.__init__}


def said_in(path: Path) -> Iterator[Said]:
    makers = {"Sentence", "UnknownName"} | plain_errors()
    place = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args and (maker(node) in makers or is_own_constructor(node, path)):
            values = frozenset(keyword.arg or "**" for keyword in node.keywords)
            yield Said(f"{place}:{node.lineno}", node.args[0], values)


def maker(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def is_own_constructor(call: ast.Call, path: Path) -> bool:
    return path == ERRORS and ast.unparse(call.func) == "super().__init__" and bool(call.keywords)


SAID = [said for path in sorted((ROOT / "webui").rglob("*.py")) for said in said_in(path)]


def literal(said: Said) -> str | None:
    is_text = isinstance(said.template, ast.Constant) and isinstance(said.template.value, str)
    return said.template.value if is_text else None  # type: ignore[attr-defined]


def test_every_template_is_written_out_and_gets_exactly_the_values_that_it_names() -> None:
    wrong = []
    for said in SAID:
        template = literal(said)
        if template is None:
            if ast.unparse(said.template) not in COMPUTED:
                wrong.append(f"{said.place}: {ast.unparse(said.template)} is not a literal")
        elif set(PLACEHOLDER.findall(template)) != said.values:
            wrong.append(f"{said.place}: {template!r} gets {sorted(said.values)}")
    assert wrong == []


def templates_of_the_page() -> set[str]:
    shown = [said for said in SAID if not said.place.startswith(CONSOLE_ONLY)]
    written = {template for said in shown if (template := literal(said)) is not None}
    return written.union(*COMPUTED.values())


def test_every_sentence_of_the_server_has_a_translation_with_the_same_values() -> None:
    from webui.ui.languages import words

    korean, words_of_the_page = words("ko"), set(words("en").values())
    templates = templates_of_the_page()
    assert len(templates) > 80, "the walk through the source finds what is said"
    assert sorted(template for template in templates - words_of_the_page if template not in korean) == []
    for template in templates & korean.keys():
        assert sorted(PLACEHOLDER.findall(template)) == sorted(PLACEHOLDER.findall(korean[template])), template


def test_no_translation_is_left_over() -> None:
    from webui.ui.languages import words

    assert sorted(words("ko").keys() - words("en").keys() - templates_of_the_page()) == []
    assert words("en").keys() & templates_of_the_page() == set(), "a sentence would be taken for a word of the page"


def test_values_are_put_in_as_they_are() -> None:
    nested = Sentence("{file} is {found}.", file="{found}", found=Sentence("not valid JSON"))
    assert str(nested) == "{found} is not valid JSON."
    assert str(Sentence("{a} {b.c} {missing}", a=1)) == "1 {b.c} {missing}"


@pytest.mark.parametrize(
    "sentence",
    [Sentence("Done."), Sentence("{n} of {of}", n=1, of=2.5), Sentence("{why}!", why=Sentence("{x}", x="<b>"))],
)
def test_a_sentence_survives_json(sentence: Sentence) -> None:
    told = sentence.to_json()
    assert told["text"] == str(sentence)
    assert Sentence.from_json(told) == sentence
