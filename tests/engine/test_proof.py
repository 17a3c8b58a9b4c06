"""What `tests/gpu/run.sh` runs on a machine with a card, rehearsed on the CPU at toy size."""

import json

import pytest

from tests.tiny import build_tiny_checkpoint

pytestmark = pytest.mark.torch


def test_the_proof_for_a_card_runs_through_and_skips_only_what_needs_one(tmp_path, capsys):
    from tests.gpu import prove

    build_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "tiny")
    given = ["--device", "cpu", "--tiny", "--models", str(tmp_path / "models"), "--output", str(tmp_path / "out")]
    assert prove.main(given) == 0
    checks = json.loads((tmp_path / "out" / "proof.json").read_text())["checks"]
    assert {name for name, found in checks.items() if found["ok"] is None} == {"attention", "a full card"}
    assert all(found["ok"] is not False for found in checks.values()), checks
    assert checks["speed at SDXL's size"]["steps per second"] > 0
    assert "failed: none" in capsys.readouterr().out


def test_a_check_that_falls_over_is_told_and_the_others_go_on(tmp_path):
    from tests.gpu.prove import Proof

    proof = Proof("cpu", tmp_path, tmp_path, tiny=True)
    proof.check("pictures", proof.pictures)  # there is no model
    proof.check("attention", proof.attention)
    assert proof.found["pictures"]["ok"] is False
    assert "UnknownName" in proof.found["pictures"]["error"] or "checkpoint" in proof.found["pictures"]["error"]
    assert proof.found["attention"]["chosen"] == "SDPA"
