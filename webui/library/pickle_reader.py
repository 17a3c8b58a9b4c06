"""A pickle read as text: what it would build, without building anything.

Every instruction is taken as `pickletools` names it and played on a stack of names, shapes and dictionaries. Nothing is
imported, called or unpacked. Knows nothing of files; `pickles` finds the pickle in them.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

MOST_INSTRUCTIONS = 500_000
"""A checkpoint of Stable Diffusion XL needs about 150,000."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first object of torch's format before version 1.6: three small pickles, then the one that matters."""


MOST_SIZES = 16
"""Of a tensor's shape."""
HIGHEST_KEY = 2**31
"""Of numbers by which something is found. With higher ones, a hostile pickle could make all of them collide."""


class Tensor(NamedTuple):
    """A tensor that stands in a pickle."""

    shape: tuple[int, ...]


class Global(NamedTuple):
    """Something that a pickle names to be imported."""

    name: str


class Thing(dict[object, object]):
    """An object with its attributes, as far as they are dictionaries."""


class Unknown:
    """A value that says nothing of names and shapes."""


class Reader:
    """Plays one file's pickles. `names` is everything they would import, in full."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._left = MOST_INSTRUCTIONS
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[object, object] = {}

    def read(self, file: BinaryIO) -> object:
        """The object that the pickle stands for. Raises ValueError, LookupError or TypeError when it makes no sense."""
        root = self._play(file)
        if root == LEGACY_MAGIC:
            self._play(file)  # the version of the format
            self._play(file)  # the machine that wrote it
            root = self._play(file)
        return root

    def _play(self, file: BinaryIO) -> object:
        self._stack, self._marks, self._memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(file):
            self._spend(1)
            if opcode.name == "STOP":
                return self._stack.pop()
            play = _PLAYS.get(opcode.name)
            if play is None:
                self._other(opcode, argument)
            else:
                play(self, argument)
        raise ValueError("no end")

    def _spend(self, instructions: int) -> None:
        self._left -= instructions
        if self._left < 0:
            raise ValueError("too many instructions")

    def _other(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Constants are kept, everything without a play of its own leaves unknown values."""
        names = [taken.name for taken in opcode.stack_before]
        if "mark" in names:
            self._to_mark()
            names = names[: names.index("mark")]
        for _ in names:
            self._stack.pop()
        is_constant = not opcode.stack_before and opcode.arg is not None
        self._stack += [argument if is_constant else Unknown() for _ in opcode.stack_after]

    def _to_mark(self) -> list[object]:
        """Take what lies above the last mark. Raises IndexError when there is none."""
        at = self._marks.pop()
        taken = self._stack[at:]
        del self._stack[at:]
        return taken

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _pop(self, _: object) -> None:
        """A mark counts as a value here, and nowhere else."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _put(self, index: object) -> None:
        if not _is_key(index):
            raise ValueError("too high a number")
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: object) -> None:
        self._stack.append(self._memo[index])

    def _duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _name(self, name: str) -> None:
        self.names.add(name)
        self._stack.append(Global(name))

    def _global(self, argument: object) -> None:
        self._name(".".join(str(argument).split(" ", 1)))

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        texts = [part if isinstance(part, str) else "?" for part in (module, name)]
        self._name(".".join(texts))

    def _instance(self, argument: object) -> None:
        self._to_mark()
        self._global(argument)

    def _extension(self, code: object) -> None:
        self._name(f"copyreg extension {code}")

    def _empty_dict(self, _: object) -> None:
        self._stack.append({})

    def _dict(self, _: object) -> None:
        values = self._to_mark()
        self._stack.append({})
        self._set(values)

    def _list(self, _: object) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _tuple(self, count: int) -> None:
        taken = self._stack[len(self._stack) - count :]
        if len(taken) != count:
            raise ValueError("an empty stack")
        del self._stack[len(self._stack) - count :]
        self._stack.append(tuple(taken))

    def _set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set_items(self, _: object) -> None:
        self._set(self._to_mark())

    def _set(self, values: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update((key, value) for key, value in zip(values[::2], values[1::2], strict=True) if _is_key(key))

    def _reduce(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(_called(function, arguments))

    def _new_object(self, _: object) -> None:
        del self._stack[-2:]
        self._stack.append(Thing())

    def _build(self, _: object) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Thing) and isinstance(state, dict):
            self._spend(len(state))
            target.update(state)


def _is_key(key: object) -> bool:
    return isinstance(key, str) or (isinstance(key, int) and abs(key) < HIGHEST_KEY)


def _called(function: object, arguments: object) -> object:
    """What a call gives, of those that make tensors and dictionaries."""
    name = function.name if isinstance(function, Global) else ""
    if not isinstance(arguments, tuple):
        return Unknown()
    if name == "collections.OrderedDict" and not arguments:
        return {}
    if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
        shape = arguments[2]
        if not isinstance(shape, tuple) or len(shape) > MOST_SIZES:
            return Unknown()
        return Tensor(tuple(size for size in shape if isinstance(size, int)))
    if name.startswith("torch._utils._rebuild_parameter") and arguments:
        return arguments[0]
    if name == "torch._tensor._rebuild_from_type_v2" and arguments[0] != function:  # never inside of itself
        return _called(arguments[0], arguments[2])
    return Unknown()


_PLAYS: Mapping[str, Callable[[Reader, object], None]] = {
    "MARK": Reader._mark,
    "POP": Reader._pop,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Reader._put),
    "MEMOIZE": Reader._memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Reader._get),
    "DUP": Reader._duplicate,
    "GLOBAL": Reader._global,
    "STACK_GLOBAL": Reader._stack_global,
    "INST": Reader._instance,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), Reader._extension),
    "EMPTY_DICT": Reader._empty_dict,
    "DICT": Reader._dict,
    "EMPTY_TUPLE": lambda reader, _: reader._tuple(0),
    "TUPLE1": lambda reader, _: reader._tuple(1),
    "TUPLE2": lambda reader, _: reader._tuple(2),
    "TUPLE3": lambda reader, _: reader._tuple(3),
    **dict.fromkeys(("TUPLE", "LIST"), Reader._list),
    "SETITEM": Reader._set_item,
    "SETITEMS": Reader._set_items,
    "REDUCE": Reader._reduce,
    "NEWOBJ": Reader._new_object,
    "BUILD": Reader._build,
}
"""Name of an instruction -> what it does here."""
