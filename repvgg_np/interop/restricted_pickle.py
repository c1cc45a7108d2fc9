"""A pickle is a program; this is a machine for it that cannot do harm.

A pickle is a row of instructions for a machine with a stack and a memo. Most only build data: push a number,
push a string, gather everything since the last mark into a tuple. But `GLOBAL` pushes any function that
Python can import, and `REDUCE` calls it: `os.system` as well as `collections.OrderedDict`. That is why
loading a stranger's pickle means running a stranger's program.

The machine below has no such power, because it imports nothing. It knows the instructions that a state dict
needs and no others. `GLOBAL` looks a name up in the table `GLOBALS` and refuses all that is not there; what
stands there are functions of this file, which only note down what a tensor consists of: the key of its
storage, an offset, sizes and strides. (PyTorch keeps the numbers themselves outside of the pickle;
`BINPERSID` refers to them.) Dicts keep string keys only, because hashing a nested tuple can take for ever,
and the length of the program is bounded.
"""

import pickletools
from dataclasses import dataclass

from repvgg_np.interop.files import BFLOAT16, shown

MAX_INSTRUCTIONS = 1_000_000  # a tensor takes about 40


@dataclass(frozen=True, slots=True)
class StorageType:
    """One of PyTorch's storage classes, here nothing but the name of an element type."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of numbers kept outside of the pickle, under a key."""

    key: str
    dtype: str
    length: int  # in elements


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """What the pickle says of a tensor: a strided view of a storage. Counted in elements; not checked yet."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


def _ordered_dict(arguments):
    """`collections.OrderedDict()`: a dict, which keeps its order as well."""
    if arguments != ():
        raise ValueError("its pickle fills an OrderedDict in a way that PyTorch does not")
    return {}


def _rebuild_tensor(arguments):
    """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks, metadata=None)`."""
    if len(arguments) not in (6, 7):
        raise ValueError(f"its pickle describes a tensor with {len(arguments)} items, 6 or 7 expected")
    if [type(argument) for argument in arguments[:4]] != [Storage, int, tuple, tuple]:
        raise ValueError("its pickle describes a tensor by something else than storage, offset, size and stride")
    return TensorRecord(*arguments[:4])


def _rebuild_parameter(arguments):
    """`_rebuild_parameter(tensor, requires_grad, backward_hooks)`: for us the tensor itself."""
    if len(arguments) != 3 or type(arguments[0]) is not TensorRecord:
        raise ValueError("its pickle describes a parameter that is not a tensor")
    return arguments[0]


def _size(arguments):
    """`torch.Size(sizes)`: for us a plain tuple."""
    if len(arguments) != 1 or type(arguments[0]) is not tuple:
        raise ValueError("its pickle describes a torch.Size that is not a tuple")
    return arguments[0]


GLOBALS = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
    "torch.DoubleStorage": StorageType("f8"),
    "torch.FloatStorage": StorageType("f4"),
    "torch.HalfStorage": StorageType("f2"),
    "torch.BFloat16Storage": StorageType(BFLOAT16),
    "torch.LongStorage": StorageType("i8"),
    "torch.IntStorage": StorageType("i4"),
    "torch.ShortStorage": StorageType("i2"),
    "torch.CharStorage": StorageType("i1"),
    "torch.ByteStorage": StorageType("u1"),
    "torch.BoolStorage": StorageType("b1"),
}
_FUNCTIONS = (_ordered_dict, _rebuild_tensor, _rebuild_parameter, _size)


def run(program):
    """Run a pickle on the harmless machine.

    Parameters
    ----------
    program : bytes

    Returns
    -------
    object
        Made of dict, list, tuple, int, float, str, bool, None and `TensorRecord` only (and perhaps a bare
        `Storage` or `StorageType`). Containers may contain themselves: whoever walks them must not follow
        them without end.

    Raises
    ------
    ValueError
        If the program is broken, too long, or wants what this machine does not have; a function that it
        wanted is named.
    """
    machine = _Machine()
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(program)):
            if count >= MAX_INSTRUCTIONS:
                raise ValueError(f"its pickle has more than {MAX_INSTRUCTIONS} instructions")
            machine.execute(instruction.name, argument)
        return machine.stack[-1]
    except ValueError as error:
        raise ValueError(f"its pickle is refused: {error}") from error
    except Exception as error:  # a broken program can pop what is not there, append to a number, and so on
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from error


class _Machine:
    """The stack, the stacks set aside by marks, the memo, and one method that executes one instruction."""

    def __init__(self):
        self.stack = []
        self.set_aside = []  # `MARK` starts a fresh stack; what came before waits here
        self.memo = {}

    def execute(self, instruction, argument):
        """Execute one instruction, named as `pickletools` names it."""
        push, pop = self.stack.append, self.stack.pop
        match instruction:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction])

            case "MARK":
                self.set_aside.append(self.stack)
                self.stack = []
            case "EMPTY_TUPLE":
                push(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [pop() for _ in range(int(instruction[-1]))]
                push(tuple(reversed(items)))
            case "TUPLE":
                items = self._pop_to_mark()
                self.stack.append(tuple(items))
            case "EMPTY_LIST":
                push([])
            case "APPEND":
                item = pop()
                self._top(list).append(item)
            case "APPENDS":
                items = self._pop_to_mark()
                self._top(list).extend(items)
            case "EMPTY_DICT":
                push({})
            case "SETITEM":
                value, key = pop(), pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())

            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])

            case "GLOBAL":
                push(_look_up(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = pop(), pop()
                push(_look_up(module, name))
            case "REDUCE":
                arguments, function = pop(), pop()
                if function not in _FUNCTIONS or type(arguments) is not tuple:
                    raise ValueError("it calls something that is not a function")
                push(function(arguments))
            case "BUILD":
                pop()  # PyTorch hangs version numbers on the state dict, as attributes: not kept
                self._top(dict)
            case "BINPERSID":
                push(_storage(pop()))

            case "INST":  # an old form of GLOBAL and REDUCE in one
                _look_up(*argument.split(" ", 1))
                raise ValueError("it uses the instruction INST, which no state dict needs")
            case _:
                raise ValueError(f"it uses the instruction {instruction}, which no state dict needs")

    def _pop_to_mark(self):
        items = self.stack
        self.stack = self.set_aside.pop()
        return items

    def _top(self, kind):
        """Return the container on top of the stack, which must be of that kind."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it fills something that is not a {kind.__name__}")
        return self.stack[-1]

    def _set_items(self, items):
        """Put alternating keys and values into the dict on top of the stack; only string keys are kept."""
        if len(items) % 2:
            raise ValueError("it has a key without a value")
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is str:
                target[key] = value


def _look_up(module, name):
    """Return what stands for `module.name` here; nothing is imported."""
    if type(module) is not str or type(name) is not str:
        raise ValueError("it looks up a name that is not a string")
    wanted = f"{module}.{name}"
    if wanted not in GLOBALS:
        raise ValueError(
            f"it wants {shown(wanted)}, which no state dict needs, and nothing of it was run; if you trust "
            "the file, load it with PyTorch and save the weights alone: torch.save(model.state_dict(), path)"
        )
    return GLOBALS[wanted]


def _storage(reference):
    """Read PyTorch's reference to numbers outside of the pickle: ("storage", type, key, device, length)."""
    if type(reference) is not tuple or [type(item) for item in reference] != [
        str,
        StorageType,
        str,
        str,
        int,
    ]:
        raise ValueError("it refers to a storage in an unknown way")
    tag, storage_type, key, _, length = reference
    if tag != "storage":
        raise ValueError(f"it refers to something unknown: {shown(tag)}")
    return Storage(key, storage_type.dtype, length)
