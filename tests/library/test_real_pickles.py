"""What torch itself writes is read as torch means it, in every format that it ever had."""

from collections import OrderedDict

import pytest

from webui.library.pickles import read_contents

pytestmark = pytest.mark.torch


def write(path, value, **options):
    import torch

    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("is_zip", [True, False])
def test_names_and_shapes_of_a_state(tmp_path, is_zip):
    import torch
    from torch import nn

    layer = nn.Linear(3, 2)
    state = OrderedDict(a=torch.zeros(2, 3, dtype=torch.float16), b=nn.Parameter(torch.zeros(4)), **layer.state_dict())
    value = {"state_dict": state, "epoch": 3, "lr": 0.1, "step": torch.tensor(5)}
    found = read_contents(write(tmp_path / "one.ckpt", value, _use_new_zipfile_serialization=is_zip))
    assert found.shapes == {"a": (2, 3), "b": (4,), "weight": (2, 3), "bias": (2,)}


def test_the_state_of_a_module_keeps_its_names(tmp_path):
    from torch import nn

    state = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).state_dict()
    found = read_contents(write(tmp_path / "one.pth", {"params_ema": state}))
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_an_embedding_of_a1111_tells_its_name_and_vectors(tmp_path):
    import torch
    from torch import nn

    vectors = torch.zeros(3, 768, requires_grad=True)
    value = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "cat", "step": 100}
    found = read_contents(write(tmp_path / "one.pt", value))
    assert (found.title, found.shapes) == ("cat", {"string_to_param.*": (3, 768)})
    old = {**value, "string_to_param": nn.ParameterDict({"*": nn.Parameter(vectors)})}
    found = read_contents(write(tmp_path / "old.pt", old))
    assert [(name.partition(".")[0], shape) for name, shape in found.shapes.items()] == [("string_to_param", (3, 768))]
