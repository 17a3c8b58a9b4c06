"""docs/reliability.md, made of test results:  python -m tests.security.report [further arguments of pytest]

Runs every test that shows a row of the security plan and writes what became of it. Without a browser or torch at hand:
`-m "row and not browser and not torch"`; what was not run keeps the result that the page has.
"""

import ast
import datetime
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.security.rows import NOT_HERE, ROWS
from webui.settings import ROOT

PAGE = ROOT / "docs" / "reliability.md"
LINE = re.compile(r"^\| ([A-Z]\d+) \| .*? \| .*? \| (.*?) \| (.*?) \|$", re.MULTILINE)

HEAD = """# Reliability

What somebody may try against network, uploads, files, APIs and metadata, what is promised, and what became of it.
Made from test results by `python -m tests.security.report`; last run on {day}. A test compares this page with the
marks of the tests. What the promises are worth and where they end: [security.md](security.md).

| row | tried | promised | tests | result |
|---|---|---|---|---|
"""


def marked() -> Mapping[str, list[str]]:
    """Row -> names of the tests that show it, read from the sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.row(" in text:
            for name, rows in _marks(ast.parse(text)):
                for row in rows:
                    found[row].append(f"{path.relative_to(ROOT).as_posix()}::{name}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.row":
                    yield node.name, [ast.literal_eval(argument) for argument in decorator.args]


def told() -> Mapping[str, tuple[str, str]]:
    """Row -> (tests, result) as the page says it."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    return {found[1]: (found[2], found[3]) for found in LINE.finditer(text)}


def named(tests: Sequence[str]) -> str:
    """As the page names them: words instead of underscores, each once."""
    return "; ".join(dict.fromkeys(test.split("::test_")[1].replace("_", " ") for test in tests))


class Results:
    """A pytest plugin: outcome of every test function, the worst of its cases."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.split("[")[0]
        if report.outcome == "failed":
            self.outcomes[test] = "failed"
        elif report.when == "call" and report.outcome == "passed":
            self.outcomes.setdefault(test, "passed")


def page(outcomes: Mapping[str, str], before: Mapping[str, tuple[str, str]]) -> str:
    lines = []
    tests_of = marked()
    for row, what in ROWS.items():
        tests = tests_of[row]
        results = {outcomes[test] for test in tests if test in outcomes}
        result = "failed" if "failed" in results else "passed" if results else before.get(row, ("", "not run"))[1]
        lines.append(f"| {row} | {what.tried} | {what.promised} | {named(tests)} | {result} |")
    lines += [f"| {row} | — | {why} | — | does not apply |" for row, why in NOT_HERE.items()]
    return HEAD.format(day=datetime.date.today().isoformat()) + "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    results, before = Results(), told()
    files = sorted({test.split("::")[0] for tests in marked().values() for test in tests})
    chosen = [] if "-m" in arguments else ["-m", "row"]
    code = pytest.main(["-q", *chosen, *arguments, *files], plugins=[results])
    PAGE.write_text(page(results.outcomes, before), "utf-8")
    return int(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main(sys.argv[1:]))
