"""The page about reliability says what the tests show."""

from tests.security import report
from tests.security.rows import NOT_HERE, ROWS


def test_every_row_is_shown_by_a_test_and_no_test_shows_an_unknown_one() -> None:
    shown = report.marked()
    assert [row for row in ROWS if not shown.get(row)] == []
    assert sorted(shown.keys() - ROWS.keys()) == []
    assert not ROWS.keys() & NOT_HERE.keys()


def test_the_page_names_every_row_with_its_tests_and_a_good_result() -> None:
    told, shown = report.told(), report.marked()
    again = "make it again: python -m tests.security.report"
    assert list(told) == [*ROWS, *NOT_HERE], again
    assert {row: tests for row, (tests, _) in told.items() if row in ROWS} == {
        row: report.named(shown[row]) for row in ROWS
    }, again
    assert {result for row, (_, result) in told.items() if row in ROWS} == {"passed"}, again


def test_a_failure_makes_its_row_fail() -> None:
    shown = report.marked()
    row, tests = "N1", shown["N1"]
    page = report.page({tests[0]: "passed", tests[1]: "failed"}, {})
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {row} |")]
    assert line.endswith("| failed |")
    assert "| not run |" in page
