"""The command line: what is typed, what comes out, which exit code."""

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression
from PIL import Image

from webui import checks, cli, generate
from webui.errors import CannotStart, Conflict, InvalidRequest
from webui.params import parameters
from webui.requests import TextToImage, build


@pytest.fixture(autouse=True)
def _same_logging_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def flags_of(*arguments: str) -> dict[str, object]:
    return generate.values_of(cli.make_parser().parse_args(["generate", *arguments]))


# Flags.


def test_serve_is_meant_when_no_command_is_named() -> None:
    for arguments in ([], ["--port", "7000"], ["serve"]):
        assert cli.make_parser().parse_args(cli._with_command(arguments)).run is cli.serve


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in ("serve", "generate", "doctor", "test", "bench", "train"):
        assert f"\n  {command}" in shown or f" {command} " in shown


@pytest.mark.parametrize(
    "arguments", [["--port", "99999"], ["--workers", "0"], ["--device", "gpu"], ["--colour", "red"], ["paint"]]
)
def test_a_wrong_flag_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


def test_every_parameter_of_a_request_has_a_flag_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["generate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, parameter in parameters(TextToImage).items():
        if name != "preview":
            assert name == "prompt" or f"--{name.replace('_', '-')} " in shown, name
            assert parameter.param.help in shown


def test_flags_become_a_request_and_unnamed_ones_stay_open() -> None:
    values = flags_of("a red apple", "--seed", "7", "--steps", "12", "--guidance", "3.5", "--negative", "blurry",
                      "--count", "2", "--width", "64", "--height", "128", "--sampler", "Euler a",
                      "--schedule", "Karras", "--checkpoint", "tiny")  # fmt: skip
    request = build("txt2img", values)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a red apple", "blurry", 7)
    assert (request.num_inference_steps, request.guidance_scale, request.batch_count) == (12, 3.5, 2)
    assert (request.width, request.height, request.sampler) == (64, 128, "Euler a")
    assert (request.schedule, request.checkpoint, request.preview) == ("Karras", "tiny", "Off")
    assert flags_of("a red apple") == {"prompt": "a red apple", "preview": "Off"}


def test_hires_takes_its_scale_and_has_the_flags_of_its_fields() -> None:
    assert flags_of("a", "--hires")["hires"] is True
    values = flags_of("a", "--hires", "1.5", "--hires-upscaler", "Lanczos", "--hires-steps", "3", "--tiling")
    request = build("txt2img", values)
    assert (request.hires, request.hires_scale, request.hires_upscaler) == (True, 1.5, "Lanczos")
    assert (request.hires_steps, request.tiling) == (3, True)


# Files.


def test_folders_of_other_tools_are_named_as_often_as_there_are_any() -> None:
    flags = cli.make_parser().parse_args(["serve", "--extra-models", "a", "--extra-models", "b.yaml"])
    assert [path.name for path in flags.extra_models] == ["a", "b.yaml"]
    assert cli.make_parser().parse_args(["train"]).extra_models == []


def test_a_folder_of_another_tool_that_holds_no_models_ends_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "x.png")
    arguments = ["generate", "x", "--models-dir", str(tmp_path), "--extra-models", str(tmp_path), "--output", output]
    assert cli.main(arguments) == 2
    assert f"--extra-models {tmp_path} holds no models" in capsys.readouterr().err


def test_several_pictures_are_numbered() -> None:
    assert generate.targets(Path("x/apple.png"), 1) == [Path("x/apple.png")]
    assert generate.targets(Path("x/apple.png"), 2) == [Path("x/apple-1.png"), Path("x/apple-2.png")]


def test_another_format_than_png_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"ends in \.png, not 'apple\.jpg'"):
        generate.targets(Path("apple.jpg"), 1)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "apple.png"
    target.write_bytes(b"older")
    with pytest.raises(Conflict):
        generate.write(b"new", target, overwrite=False)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]
    generate.write(b"new", target, overwrite=True)
    assert target.read_bytes() == b"new"


# Errors: one sentence, and no engine is started for them.


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["x", "--width", "67"], "multiple of 8"),
        (["x", "--steps", "1000"], "from 1 to 150"),
        (["x", "--sampler", "Foo"], "Known: Euler,"),
        (["x", "--output", "x.jpg"], "PNG"),
        (["x", "--guidance", "nan"], "Guidance scale"),
    ],
)
def test_an_impossible_picture_is_one_sentence_and_code_1(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["generate", *arguments, "--models-dir", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown


def test_without_a_checkpoint_the_remedy_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["generate", "x", "--models-dir", str(tmp_path), "--output", str(tmp_path / "x.png")]) == 1
    assert "There is no checkpoint" in capsys.readouterr().err


def test_a_picture_that_is_there_is_not_made_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "apple.png"
    target.write_bytes(b"older")
    assert cli.main(["generate", "x", "--output", str(target), "--models-dir", str(tmp_path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes() == b"older"


def test_an_unwritable_folder_ends_serve_with_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["--no-browser", "--port", "0", "--data-dir", str(tmp_path / "file" / "x")]
    assert cli.main(arguments) == 2
    assert "--data-dir" in capsys.readouterr().err


@pytest.mark.torch
def test_generate_writes_the_same_picture_for_the_same_seed(
    tiny_models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--models-dir", str(tiny_models_dir), "--steps", "3", "--device", "cpu"]
    several = tmp_path / "new" / "apple.png"
    assert cli.main(["generate", "a red apple", "--seed", "7", "--count", "2", "--output", str(several), *common]) == 0
    captured = capsys.readouterr()
    pictures = [tmp_path / "new" / "apple-1.png", tmp_path / "new" / "apple-2.png"]
    assert captured.out.split() == [str(path) for path in pictures]
    assert "3/3" in captured.err, "the bar counts steps"
    with Image.open(pictures[0]) as image:
        assert image.size == (64, 64)
        assert image.text["parameters"].startswith("a red apple")  # type: ignore[attr-defined]
        first = image.tobytes()
    alone = tmp_path / "alone.png"
    assert cli.main(["generate", "a red apple", "--seed", "8", "--output", str(alone), *common]) == 0
    with Image.open(alone) as image, Image.open(pictures[1]) as second:
        assert image.tobytes() == second.tobytes()
        assert image.tobytes() != first


@pytest.mark.torch
def test_generate_on_a_device_that_is_not_there_says_so_and_ends(
    tiny_models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "never.png"
    command = ["generate", "x", "--device", "cuda:99", "--models-dir", str(tiny_models_dir), "--output", str(output)]
    assert cli.main(command) == 1
    assert "cuda:99" in capsys.readouterr().err
    assert not output.exists()


# The other commands.


def test_train_lists_its_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train"]) == 0
    assert "easel" in capsys.readouterr().out


def test_train_says_which_folders_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "first", "--data", "x"]) == 2
    assert "--run and --output" in capsys.readouterr().err


def test_train_says_that_a_recipe_is_unknown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert cli.main(["train", "nothing", "--data", folder, "--run", folder, "--output", folder]) == 1
    assert "Shipped: " in capsys.readouterr().err


@pytest.mark.torch  # the probe imports it
def test_doctor_reports_what_is_wrong_without_failing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    models = tmp_path / "models" / "checkpoints" / "broken"
    models.mkdir(parents=True)
    (models / "model_index.json").write_text("{", "utf-8")
    arguments = ["doctor", "--port", "0", "--models-dir", str(tmp_path / "models"), "--data-dir", str(tmp_path),
                 "--outputs-dir", str(tmp_path / "file" / "x")]  # fmt: skip
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "data folder" in shown
    assert f"outputs folder {tmp_path / 'file' / 'x'}: PROBLEM" in shown
    assert "broken: " in shown
    assert "torch 2." in shown
    assert "xformers: " in shown


def test_all_checks_run_and_the_first_failure_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    class Done:
        def __init__(self, command: list[str], **_: object) -> None:
            ran.append(command[2])
            self.returncode = {"mypy": 3, "pytest": 4}.get(command[2], 0)

    monkeypatch.setattr(checks.subprocess, "run", Done)
    monkeypatch.setattr(checks, "provide_chromium", lambda say: None)
    said: list[str] = []
    assert checks.run_checks(["-k", "x"], said.append) == 3
    assert ran == ["ruff", "ruff", "mypy", "pytest"]
    assert said[-1] == "== FAILED: mypy, pytest"


def test_the_parts_of_the_tests_are_all_of_them_and_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[list[str]] = []
    reports = ['tests="9" failures="2" errors="1" skipped="1"', *['tests="4" failures="0" errors="0" skipped="0"'] * 2]

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        if command[2] == "pytest":
            parts.append(command[3:])
            report = Path(command[-1].removeprefix("--junit-xml="))
            report.write_text(f"<testsuites><testsuite {reports.pop(0)}/></testsuites>")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(checks.subprocess, "run", run)
    monkeypatch.setattr(checks, "provide_chromium", lambda say: None)
    said: list[str] = []
    assert checks.run_checks([], said.append) == 0
    assert said[-2].startswith("== 13 passed, 2 failed, 1 in error, 1 skipped; all in ")
    assert said[-1] == "== everything passed"
    wanted = [Expression.compile(part[part.index("-m") + 1]) for part in parts]
    for marks in ({"torch"}, {"browser"}, {"torch", "browser"}, set()):
        assert sum(part.evaluate(lambda name, **_: name in marks) for part in wanted) == 1  # noqa: B023


def test_files_of_tests_that_take_long_are_there() -> None:
    from tests.conftest import HERE, LONG

    assert [name for name in LONG if not (HERE / name).is_file()] == []
    assert len(set(LONG)) == len(LONG)


def test_a_missing_browser_is_an_error_and_never_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_chromium", lambda: None)
    monkeypatch.setattr(checks, "_installers", lambda: [["false"]])
    with pytest.raises(CannotStart, match="chromium"):
        checks.provide_chromium(lambda line: None)


def test_the_ci_runs_exactly_what_a_person_runs() -> None:
    script = Path(__file__).parent.parent / ".ci" / "run"
    assert script.read_text("utf-8") == "exec python3 launch.py test\n"


def test_bench_prints_a_table_that_json_can_repeat() -> None:
    from webui.bench import table

    results = {"start (s)": 1.23456, "ratio": 1.0}
    assert table(results).splitlines() == ["start (s)     1.235", "ratio         1.000"]
    assert json.loads(json.dumps(results)) == results
