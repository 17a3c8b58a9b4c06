"""Styles: how they are put around a prompt and found again, and the file they live in."""

import os

import pytest

from webui.errors import CannotSaveStyles, InvalidRequest, UnknownName
from webui.prompt.limits import MAX_CHARACTERS
from webui.prompt.styles import MAX_FILE, Style, StylesFile, apply_styles, take_style, take_styles


@pytest.mark.parametrize(
    ("prompt", "texts", "expected"),
    [
        ("1girl", ["masterpiece"], "1girl, masterpiece"),
        ("1girl", ["masterpiece, {prompt}, best"], "masterpiece, 1girl, best"),
        ("", ["x"], "x"),
        ("x", [""], "x"),
        ("cat", ["A", "B {prompt} C", "D"], "B cat, A C, D"),
        ("{prompt} {0.__class__}", ["<{prompt}>"], "<{prompt} {0.__class__}>"),
        ("a", ["{prompt} and {prompt}"], "a and a"),
        (" a ", [" b "], "a, b"),
    ],
)
def test_styles_are_applied_as_automatic1111_applies_them(prompt, texts, expected):
    assert apply_styles(prompt, texts) == expected


def test_styles_that_double_the_prompt_are_stopped_before_they_fill_the_memory():
    with pytest.raises(InvalidRequest, match="styles"):
        apply_styles("a", ["{prompt}{prompt}"] * 10_000)
    with pytest.raises(InvalidRequest):
        apply_styles("x", ["y" * MAX_CHARACTERS])


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("1girl, art by greg, masterpiece", "masterpiece", "1girl, art by greg"),
        ("exquisite, 1girl", "masterpiece, {prompt}", None),
        ("masterpiece, 1girl", "masterpiece, {prompt}", "1girl"),
        ("aba", "ab {prompt} ba", None),
        ("ab", "ab{prompt}b", None),
    ],
)
def test_a_style_is_found_again_in_a_prompt(prompt, text, expected):
    assert take_style(prompt, text) == expected


def test_several_styles_come_back_in_the_order_in_which_they_were_applied():
    styles = [Style("one", "A", "bad"), Style("two", "B {prompt} C"), Style("three", "D"), Style("empty"),
              Style("place", "{prompt}")]  # fmt: skip
    prompt = apply_styles("cat", [style.prompt for style in styles[:3]])
    negative = apply_styles("dog", [style.negative_prompt for style in styles[:3]])
    assert take_styles(prompt, negative, styles) == ("cat", "dog", ("one", "two", "three"))
    assert take_styles("cat", "dog", styles) == ("cat", "dog", ())


def test_a_file_of_automatic1111_is_read(tmp_path):
    path = tmp_path / "styles.csv"
    path.write_bytes(
        '\ufeffname,prompt,negative_prompt\r\nnice,"a, ""b""",bad\r\n# not,x,y\r\n\r\n한국,두 줄\n여기,\r\n'
        "short\r\n".encode()
    )
    assert StylesFile(path).find(["nice", "short"]) == (Style("nice", 'a, "b"', "bad"), Style("short"))
    path.write_text("name,text\nold,words\n", "utf-8")
    assert StylesFile(path).find(["old"]) == (Style("old", "words"),)


def test_saved_styles_are_read_back_and_the_file_before_is_kept(tmp_path):
    path = tmp_path / "styles.csv"
    file = StylesFile(path)
    style = Style("두 줄", 'a,\n"b" {prompt}', "=cmd()")
    file.save(style)
    before = path.read_bytes()
    file.save(Style("other", "x"))
    file.delete("other")
    again = StylesFile(path)
    assert dict(again.styles) == {"두 줄": style} == dict(file.styles)
    assert path.read_bytes() == before, "deleting undoes saving"
    assert b"other" in (tmp_path / "styles.csv.bak").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["styles.csv", "styles.csv.bak"]


def test_styles_that_another_program_saved_meanwhile_are_not_lost(tmp_path):
    one, other = StylesFile(tmp_path / "styles.csv"), StylesFile(tmp_path / "styles.csv")
    one.save(Style("a", "1"))
    other.save(Style("b", "2"))
    assert set(StylesFile(tmp_path / "styles.csv").styles) == {"a", "b"}


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", "이름,프롬프트\na,b\n".encode("cp949"), b'name\n"' + b"x" * 200_000, b"title\na\n"]
)
def test_a_broken_file_is_told_and_kept(tmp_path, content):
    path = tmp_path / "styles.csv"
    path.write_bytes(content)
    file = StylesFile(path)
    assert not file.styles
    assert file.warning is not None
    assert str(path) in str(file.warning)
    assert path.read_bytes() == content
    file.save(Style("new", "x"))
    assert file.warning is None
    assert [kept.read_bytes() for kept in tmp_path.glob("styles.broken-*.csv")] == [content]


def test_a_huge_file_and_a_folder_in_its_place_are_told(tmp_path):
    path = tmp_path / "styles.csv"
    with path.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    assert "larger than 16 MB" in str(StylesFile(path).warning)
    (tmp_path / "folder").mkdir()
    assert StylesFile(tmp_path / "folder").warning is not None
    with pytest.raises(CannotSaveStyles):
        StylesFile(tmp_path / "folder").save(Style("a", "b"))


def test_ten_thousand_rows_are_no_burden(tmp_path):
    path = tmp_path / "styles.csv"
    path.write_text("name,prompt\n" + "".join(f"style {n},words {n}\n" for n in range(10_000)) + "style 1,last\n")
    file = StylesFile(path)
    assert len(file.styles) == 10_000
    assert file.find(["style 1"])[0].prompt == "last"
    with pytest.raises(UnknownName, match=r"no such.*style 0.*…") as refused:
        file.find(["no such"])
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize("style", [Style(" "), Style("#x"), Style("n" * 300), Style("x", "y" * (MAX_CHARACTERS + 1))])
def test_a_style_that_could_not_be_used_is_not_saved(tmp_path, style):
    with pytest.raises(InvalidRequest):
        StylesFile(tmp_path / "styles.csv").save(style)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotSaveStyles, match=f"{os.sep}file"):
        StylesFile(tmp_path / "file" / "styles.csv").save(Style("a", "b"))
