"""The training loop: stops and goes on exactly, survives kill -9, a full disk and numbers that are none."""

import copy
import csv
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from webui.errors import CannotSaveRun, TrainingDiverged, TrainingError
from webui.settings import ROOT

pytestmark = pytest.mark.torch


@pytest.fixture
def line():
    """A model of two numbers that learns a straight line."""
    import torch

    torch.manual_seed(3)
    return torch.nn.Linear(1, 1)


def line_loss(model):
    import torch

    def loss_of(generator):
        x = torch.rand(8, 1, generator=generator)
        return (model(x) - (2 * x + 1)).pow(2).mean()

    return loss_of


def stage(folder, **settings):
    from webui.training.loop import Stage

    return Stage(folder, **{"steps": 30, "learning_rate": 0.01, "log_every": 5, **settings})


def losses_of(trainer, loss_of, until=None):
    """Losses of the steps up to step `until`; stopping there saves, as closing the iterator does."""
    from contextlib import closing

    losses = []
    with closing(trainer.run(loss_of)) as steps:
        for progress in steps:
            losses.append(progress.last_loss)
            if progress.step == until:
                break
    return losses


def log_of(folder):
    with (folder / "loss.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_stage_limited_by_time_learns_and_writes_its_loss_curve(tmp_path, line):
    from webui.training.loop import Stage, Trainer

    trainer = Trainer(Stage(tmp_path / "stage", 0.02, 0.05, log_every=5), line)
    losses = [progress.loss for progress in trainer.run(line_loss(line))]
    assert losses[-1] < losses[0]
    assert trainer.finished
    rows = log_of(tmp_path / "stage")
    assert [int(row["step"]) for row in rows] == list(range(5, trainer.step + 1, 5))
    assert {*rows[0]} == {"step", "seconds", "loss", "learning_rate"}


def test_a_stage_limited_by_steps_ends_after_them_and_the_rate_rises_stays_and_falls(tmp_path, line):
    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path, steps=100, warmup_steps=4), line)
    rates = [progress.learning_rate for progress in trainer.run(line_loss(line))]
    assert len(rates) == 100
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert set(rates[4:60]) == {0.01}
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * (0.02 + 0.98 * 0.025))


def test_a_rate_that_never_falls_is_possible(tmp_path):
    from webui.training.loop import learning_rate

    constant = stage(tmp_path, constant_share=1.0, warmup_steps=0)
    assert {learning_rate(constant, step, step / 30) for step in range(30)} == {0.01}


def test_a_stage_needs_one_limit_and_no_two(tmp_path):
    from webui.training.loop import Stage

    for limits in ({}, {"minutes": 1, "steps": 1}):
        with pytest.raises(ValueError, match="either by minutes or by steps"):
            Stage(tmp_path, **limits)


def network(width=8):
    """Everything that could break an exact resume: dropout, running statistics, two layers."""
    from torch import manual_seed, nn

    manual_seed(5)
    return nn.Sequential(
        nn.Linear(1, width), nn.BatchNorm1d(width), nn.Dropout(0.3), nn.ReLU(), nn.Linear(width, 1)
    )  # fmt: skip


LARGE = 4000
"""Width of a network whose state is larger than a pipe's buffer, 64 KiB on Linux."""


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2, "ema_decay": 0.0}, {"precision": "bf16"}])
def test_a_run_that_was_stopped_goes_on_bit_for_bit_as_if_it_had_not_been(tmp_path, settings):
    import torch

    from webui.training.loop import Trainer

    whole = Trainer(stage(tmp_path / "whole", **settings), network())
    expected = losses_of(whole, line_loss(whole.model))

    found = []
    for until in (7, 8, 21, None):
        torch.manual_seed(until or 0)  # whatever else happened in the process must not matter
        part = Trainer(stage(tmp_path / "cut", **settings), network())
        found += losses_of(part, line_loss(part.model), until)
    assert found == expected
    for mine, theirs in zip(part.ema.model.state_dict().values(), whole.ema.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    curves = [[(row["step"], row["loss"], row["learning_rate"]) for row in log_of(tmp_path / name)]
              for name in ("whole", "cut")]  # fmt: skip
    assert curves[0] == curves[1]


KILLED = """
import sys, torch
from pathlib import Path
from tests.training.test_loop import LARGE, line_loss, network, stage
from webui.training.loop import Trainer
torch.set_num_threads(int(sys.argv[2]))
trainer = Trainer(stage(Path(sys.argv[1]), steps=10**6, save_every=5), network(LARGE))
for progress in trainer.run(line_loss(trainer.model)):
    pass
"""


def test_kill_9_in_the_middle_of_a_save_costs_at_most_the_steps_since_the_last_one(tmp_path):
    import torch

    from webui.training.loop import Trainer

    settings = {"steps": 10**6, "save_every": 5}
    folder = tmp_path / "killed"
    threads = str(torch.get_num_threads())  # sums of another number of threads differ in the last bit
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), threads], cwd=ROOT)
    try:
        reading = _read_from_the_next_save(folder, process)
        assert len(reading.read(50)) == 50  # the process hangs in this very write until more is read
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    reading.close()
    (folder / "state.partial").unlink()
    (folder / "state.partial").write_bytes(b"half a state")

    resumed = Trainer(stage(folder, **settings), network(LARGE))
    step = resumed.step
    assert step % 5 == 0 and step > 0
    again = losses_of(resumed, line_loss(resumed.model), step + 6)
    whole = Trainer(stage(tmp_path / "whole", steps=10**6), network(LARGE))
    assert losses_of(whole, line_loss(whole.model), step + 6)[step:] == again
    steps = [int(row["step"]) for row in log_of(folder)]
    assert steps == sorted(set(steps))


def _read_from_the_next_save(folder, process):
    """A pipe in the place of the file that the next state is written to; the writer waits for its reader."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        if (folder / "state.pt").exists():
            try:
                os.mkfifo(folder / "state.partial")
                return (folder / "state.partial").open("rb", buffering=0)
            except FileExistsError:
                pass  # a save is going on; it will be over in a moment
        time.sleep(0.001)


def test_an_unreadable_newest_state_falls_back_on_the_one_before(tmp_path, line):
    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path, save_every=10), line)
    losses_of(trainer, line_loss(line), 20)
    whole = (tmp_path / "state.pt").read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(line.weight.detach().numpy().tobytes())] ^= 1
    for content in (whole[:-100], b"", b"no state at all", bytes(damaged)):
        (tmp_path / "state.pt").write_bytes(content)
        previous = (tmp_path / "state.previous.pt").read_bytes()
        resumed = Trainer(stage(tmp_path), copy.deepcopy(line))
        assert (resumed.step, resumed.lost_newest) == (10, True)
        assert (tmp_path / "state.previous.pt").read_bytes() == previous
        assert not (tmp_path / "state.pt").exists()


def test_two_unreadable_states_are_told_and_not_begun_anew(tmp_path, line):
    from webui.training.loop import Trainer

    for name in ("state.pt", "state.previous.pt"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="None of the saved states"):
        Trainer(stage(tmp_path), line)


def test_a_state_of_other_networks_is_refused_in_words(tmp_path, line):
    import torch

    from webui.training.loop import Trainer

    Trainer(stage(tmp_path), line).save()
    for other in (torch.nn.Linear(2, 1), torch.nn.Sequential(torch.nn.Linear(1, 1))):
        with pytest.raises(TrainingError, match="belongs to other networks"):
            Trainer(stage(tmp_path), other)


def test_a_full_disk_is_told_and_the_last_state_stays(tmp_path, line):
    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path, save_every=10), line)
    losses_of(trainer, line_loss(line), 10)
    before = (tmp_path / "state.pt").read_bytes()
    resumed = Trainer(stage(tmp_path, save_every=10), line)
    (tmp_path / "state.partial").symlink_to("/dev/full")
    with pytest.raises(CannotSaveRun, match=r"No space left on device.*intact"):
        losses_of(resumed, line_loss(line))
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not (tmp_path / "state.partial").exists()


def test_a_full_disk_is_told_when_the_loss_curve_finds_it_first(tmp_path, line):
    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path), line)
    (tmp_path / "loss.csv").symlink_to("/dev/full")
    with pytest.raises(CannotSaveRun, match=r"No space left on device.*intact"):
        losses_of(trainer, line_loss(line))


@pytest.mark.parametrize("wrong", ["loss", "gradient"])
def test_what_is_no_number_stops_the_stage_and_keeps_the_checkpoint(tmp_path, line, wrong):
    import torch

    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path), line)
    trainer.save()
    before = (tmp_path / "state.pt").read_bytes()

    def loss_of(_):
        # The root has an infinite slope at zero: the loss is 0, its gradient no number.
        return (line.weight * torch.nan).sum() if wrong == "loss" else (line.weight * 0).sum().sqrt()

    with pytest.raises(TrainingDiverged, match="checkpoint is intact"):
        list(trainer.run(loss_of))
    assert (tmp_path / "state.pt").read_bytes() == before
    assert all(bool(weight.isfinite().all()) for weight in line.parameters())


def test_accumulated_batches_weigh_like_one_large_batch(tmp_path, line):
    import torch

    from webui.training.loop import Trainer, random_seeds

    twin = copy.deepcopy(line)
    parts = Trainer(stage(tmp_path / "parts", accumulation=3), line)
    seen = []

    def part(generator):
        seen.append(parts.batch)
        return line_loss(line)(generator)

    losses_of(parts, part, 4)
    assert seen == list(range(12))

    whole = Trainer(stage(tmp_path / "whole"), twin)

    def together(_):
        batches = range(3 * whole.step, 3 * whole.step + 3)
        generators = [torch.Generator().manual_seed(random_seeds(0, batch)[0]) for batch in batches]
        return sum(line_loss(twin)(generator) for generator in generators) / 3

    losses_of(whole, together, 4)
    for mine, theirs in zip(line.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


TOGETHER = """
import sys, torch
from pathlib import Path
from tests.training.test_loop import line_loss, network, stage
from webui.training.loop import Trainer
model = network().eval()  # every process has its own running statistics
trainer = Trainer(stage(Path(sys.argv[1]), steps=6, save_every=2), model)
model.train = lambda mode=True: model
for _ in trainer.run(line_loss(model)):
    pass
"""


def test_two_processes_learn_what_one_learns_with_twice_the_batches(tmp_path):
    import torch

    from webui.training.loop import Trainer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # What `accelerate launch --cpu --num_processes 2` sets.
    shared = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(tmp_path / "two")], cwd=ROOT, stderr=subprocess.DEVNULL,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        model = network().eval()
        alone = Trainer(stage(tmp_path / "one", steps=6, accumulation=2), model)
        model.train = lambda mode=True: model
        losses_of(alone, line_loss(model))
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    together = Trainer(stage(tmp_path / "two", steps=6), network())
    assert together.finished
    assert together.loss == pytest.approx(alone.loss, rel=1e-5)
    for mine, theirs in zip(together.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_precisions_follow_one_another_in_one_process_and_bf16_is_really_used(tmp_path, line):
    import torch

    from webui.training.loop import Trainer

    seen = []
    for precision in ("fp32", "bf16", "fp32"):
        trainer = Trainer(stage(tmp_path / f"{len(seen)}", precision=precision, steps=1), line)

        def loss_of(generator):
            seen.append(line(torch.rand(8, 1, generator=generator)).dtype)
            return line_loss(line)(generator)

        losses_of(trainer, loss_of)
        assert line.weight.dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16, torch.float32]


def test_a_device_or_precision_that_is_not_there_is_refused_in_words(tmp_path, line):
    import torch

    from webui.training.loop import Trainer

    with pytest.raises(TrainingError, match="fp16 is trained on graphics cards only"):
        Trainer(stage(tmp_path, precision="fp16"), line)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no graphics card 'cuda:1'"):
            Trainer(stage(tmp_path, device="cuda:1"), line)


def test_a_step_that_overflows_in_fp16_is_left_out_and_the_scale_lowered_until_it_fits(tmp_path, line):
    """The scaler of graphics cards, on the CPU."""
    import torch

    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path, warmup_steps=0), line)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [weight.clone() for weight in line.parameters()]
    losses_of(trainer, lambda generator: 100 * line_loss(line)(generator), 1)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(line.parameters(), before, strict=True))
    losses_of(trainer, lambda generator: 100 * line_loss(line)(generator), 20)
    assert not torch.equal(line.weight, before[0])
    scale = trainer.accelerator.scaler.get_scale()
    assert scale < 2.0**127

    resumed = Trainer(stage(tmp_path), copy.deepcopy(line))
    resumed.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    resumed._restore()
    assert resumed.accelerator.scaler.get_scale() == scale


def test_only_the_chosen_parameters_learn_and_only_they_are_averaged_and_saved(tmp_path):
    import torch

    from webui.training.loop import Trainer

    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Linear(8, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    trainer = Trainer(stage(tmp_path), model, model[1].parameters())
    losses_of(trainer, line_loss(model), 10)
    assert torch.equal(model[0].weight, before)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["model"].keys() == state["ema"].keys() == {"1.weight", "1.bias"}
    twin = trainer.ema.model
    assert twin[0].weight is model[0].weight
    assert twin[1].weight is not model[1].weight


def test_averaged_weights_are_there_inside_the_block_and_gone_bit_for_bit_after_it(tmp_path):
    import torch

    from webui.training.loop import Trainer

    model = network()
    trainer = Trainer(stage(tmp_path, ema_decay=0.9), model)
    losses_of(trainer, line_loss(model), 20)
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with trainer.averaged():
        assert not any(module.training for module in model.modules())
        inside = copy.deepcopy(model.state_dict())
    assert (model[1].training, model[2].training) == (True, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(inside["0.weight"], before["0.weight"])
    for name, tensor in trainer.ema.model.state_dict().items():
        assert torch.equal(tensor, inside[name])


def test_without_an_average_the_result_is_the_last_weights(tmp_path, line):
    import torch

    from webui.training.loop import Trainer

    trainer = Trainer(stage(tmp_path, ema_decay=0.0), line)
    losses_of(trainer, line_loss(line), 10)
    assert torch.equal(trainer.ema.model.weight, line.weight)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["ema"] == {}


def test_an_opponent_learns_from_its_own_loss_alone_and_resumes_too(tmp_path):
    import torch

    from webui.training.loop import Trainer

    def game(folder, until, opponent_plays=True):
        torch.manual_seed(1)
        player, opponent = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        trainer = Trainer(stage(folder), player, opponent=opponent)
        made = []

        def loss_of(generator):
            made[:] = [player(torch.rand(4, 2, generator=generator))]
            return -opponent(made[0]).mean()

        def opponent_loss_of():
            return opponent(made[0].detach()).pow(2).mean() if opponent_plays else None

        losses = []
        for progress in trainer.run(loss_of, opponent_loss_of):
            losses.append(progress.last_loss)
            if progress.step == until:
                trainer.save()
                break
        return losses, opponent

    whole, moved = game(tmp_path / "whole", 12)
    part, _ = game(tmp_path / "cut", 5)
    rest, again = game(tmp_path / "cut", 12)
    assert part + rest == whole
    assert torch.equal(again.weight, moved.weight)
    _, unmoved = game(tmp_path / "alone", 5, opponent_plays=False)
    torch.manual_seed(1)
    torch.nn.Linear(2, 2)
    assert torch.equal(unmoved.weight, torch.nn.Linear(2, 1).weight)


def test_a_state_of_the_first_version_is_gone_on_with(tmp_path, line):
    """Keys, optimiser and log as the first embedded model's run left them."""
    import torch

    from webui.training.loop import Trainer

    average = copy.deepcopy(line.state_dict())
    optimizer = torch.optim.AdamW(line.parameters(), 0.01, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    line(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    progress = {"step": 60, "seconds": 6.0, "loss": 0.5}
    state = {"model": line.state_dict(), "ema": average, "optimizer": optimizer.state_dict(),
             "generator": torch.Generator().get_state(), "progress": progress}  # fmt: skip
    torch.save(state, tmp_path / "state.pt")
    (tmp_path / "loss.csv").write_text("step,seconds,loss\n50,5.0,0.6\n100,9.0,0.4\n")

    trainer = Trainer(stage(tmp_path, steps=70), torch.nn.Linear(1, 1))
    assert (trainer.step, trainer.seconds) == (60, 6.0)
    assert torch.equal(trainer.model.weight, line.weight)
    assert torch.equal(trainer.ema.model.weight, average["weight"])
    losses_of(trainer, line_loss(trainer.model))
    rows = log_of(tmp_path)
    assert [row["step"] for row in rows] == ["50", "65", "70"]
    assert (rows[0]["loss"], rows[0]["learning_rate"]) == ("0.6", "")
