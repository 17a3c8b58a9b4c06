"""Feature networks in TorchScript files, loaded only after their code was read and found to be arithmetic alone.

A TorchScript file is a program: it can write files (`torch.save`) and map them (`torch.from_file`) when it is called.
Its functions lie in the file as text that Python's parser reads, so every name in it is compared with a list of tensor
operations before torch is given the file. What is not on the list is refused by name.
"""

import ast
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

from webui.errors import CheckpointError
from webui.training.data import to_bytes

LARGEST_CODE = 16 * 2**20
OPERATIONS = """
_convolution _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool2d add add_ addmm any all append arange avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bmm bool
cat ceil chunk clamp clamp_ clamp_max clamp_min clone constant_pad_nd contiguous conv1d conv2d conv3d copy_ cos cumsum
detach device dict dim div div_ dropout dropout_ dtype einsum elu embedding empty empty_like eq erf exp expand
expand_as expm1 extend flatten flip float floor floor_divide floordiv format full full_like gather ge gelu glu
group_norm gt half hardsigmoid hardswish hardswish_ hardtanh hardtanh_ index index_select instance_norm int is_cuda
is_floating_point isinf isnan item layer_norm le leaky_relu leaky_relu_ len linear linspace list log log1p log_softmax
logical_and logical_not logical_or lt masked_fill masked_fill_ matmul max max_pool1d max_pool2d max_pool3d mean
meshgrid min mish mm mul mul_ narrow ne neg new_empty new_full new_ones new_zeros norm numel one_hot ones ones_like pad
permute pixel_shuffle pixel_unshuffle pop pow prelu prod reciprocal reflection_pad2d relu relu6 relu6_ relu_ remainder
repeat repeat_interleave replication_pad2d requires_grad reshape roll round rsqrt rsub scaled_dot_product_attention
select selu sigmoid sigmoid_ sign silu silu_ sin size slice softmax softplus split split_with_sizes sqrt square squeeze
squeeze_ stack std stride sub sub_ sum t tan tanh tensor to topk transpose tril triu type_as unbind unflatten unfold
unsqueeze unsqueeze_ upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
upsample_nearest3d upsample_trilinear3d var view view_as warn where zero_ zeros zeros_like __and__ __contains__
__derive_index __getitem__ __interpolate __is__ __isnot__ __not__ __or__ __range_length __upsample __upsample_bilinear
"""
PRIMITIVES = "RaiseException NumToTensor data device dtype is_cuda layout max min"
WORDS = "annotate bool float int isinstance list range str unchecked_cast uninitialized"
TENSOR_OPERATIONS = frozenset(OPERATIONS.split())
ALLOWED = {"prim": frozenset(PRIMITIVES.split()), "aten": TENSOR_OPERATIONS}
"""Namespace of `ops.…` -> what may be used of it; `prim` is the language itself."""
BARE_WORDS = frozenset(WORDS.split())
"""What may be called by its bare name, besides the file's own functions and what is bound in it."""
FILE_OPERATIONS = frozenset(("save", "from_file"))
"""The only operations of torch 2.13 that take the name of a file; in no place and under no other name."""


class Scripted:
    """A `Judge` in TorchScript: uint8 pictures go in, features come out.

    When its `forward` has a parameter `return_features`, as NVIDIA's file of the Inception network of FID has it, it
    gives probabilities of classes without it.
    """

    def __init__(self, module: torch.jit.ScriptModule, name: str) -> None:
        self._module = module
        self._name = name
        names = {argument.name for argument in module.forward.schema.arguments}  # type: ignore[attr-defined]
        self._has_classes = "return_features" in names

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._run(pictures, **({"return_features": True} if self._has_classes else {})).flatten(1)

    def logits(self, pictures: torch.Tensor) -> torch.Tensor | None:
        return self._run(pictures).clamp_min(1e-20).log() if self._has_classes else None

    @torch.inference_mode()
    def _run(self, pictures: torch.Tensor, **extra: bool) -> torch.Tensor:
        """Raises `CheckpointError` when the network wants something else than bytes."""
        try:
            found: torch.Tensor = self._module(to_bytes(pictures), **extra)
            return found.float()
        except RuntimeError as error:
            raise CheckpointError(
                "{name} judges no pictures: give a network that takes uint8 (n, 3, height, width) and gives features.",
                name=self._name,
            ) from error


def load_scripted(path: Path) -> Scripted:
    """Raises `CheckpointError` for what is no TorchScript, and for one that does more than arithmetic."""
    try:
        sources = _read_code(path)
        functions = {node.name for tree in sources for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        strange = next((name for tree in sources for name in _strange_names(tree, functions)), None)
        if strange is None:
            return Scripted(torch.jit.load(path, map_location="cpu").eval(), path.name)  # type: ignore[no-untyped-call]
    except (OSError, zipfile.BadZipFile, SyntaxError, ValueError, RuntimeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError("{name} is no TorchScript network: {reason}.", name=path.name, reason=reason) from error
    raise CheckpointError(
        "{name} is not loaded: it calls {call}, which is not on the list of tensor operations. A TorchScript file is "
        "a program; take a file that only computes.",
        name=path.name,
        call=strange[:80],
    )


def _read_code(path: Path) -> list[ast.Module]:
    with zipfile.ZipFile(path) as archive:
        texts = [info for info in archive.infolist() if info.filename.endswith(".py")]
        if not texts or sum(info.file_size for info in texts) > LARGEST_CODE:
            raise ValueError("it holds no code, or far too much")
        for info in archive.infolist():
            if info.filename.endswith(".pkl") and b"torch.classes" in archive.read(info):
                raise ValueError("it holds objects of compiled classes")
        return [ast.parse(archive.read(info).decode()) for info in texts]


def _strange_names(tree: ast.Module, functions: set[str]) -> Iterator[str]:
    """Everything that is called or referred to and is neither a tensor operation nor a function of the file."""
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield "import"
        elif isinstance(node, ast.FunctionDef) and node.name in FILE_OPERATIONS:
            yield node.name
        elif isinstance(node, ast.Name) and node.id in ("torch", "ops") and id(node) not in inner:
            yield node.id  # under another name its operations would not be found
        elif isinstance(node, ast.Attribute) and id(node) not in inner and not _is_known(ast.unparse(node)):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and not _may_be_called(node.func, functions, bound):
            yield ast.unparse(node.func)


def _is_known(name: str) -> bool:
    """Of a whole chain of attributes."""
    root, *rest = name.split(".")
    if FILE_OPERATIONS & set(rest) or "torch.classes" in name:
        return False
    if root == "torch":
        return len(rest) == 1 and rest[0] in TENSOR_OPERATIONS
    if root == "ops":
        return len(rest) == 2 and rest[1] in ALLOWED.get(rest[0], ())
    return True


def _may_be_called(called: ast.expr, functions: set[str], bound: set[str]) -> bool:
    if isinstance(called, ast.Name):
        return called.id in BARE_WORDS | functions | bound
    if not isinstance(called, ast.Attribute):
        return False
    root = ast.unparse(called).partition(".")[0]
    return root in ("torch", "ops", "__torch__") or called.attr in functions
