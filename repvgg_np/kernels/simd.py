"""The vector register as a Python value: the only file here that speaks LLVM.

A processor's arithmetic units work on registers that hold several numbers, its *lanes*: sixteen float32 with AVX-512,
eight with AVX2, four on ARM. Left to itself a compiler finds some of that parallelism in plain loops, and loses about
half of the speed. So this file gives Numba one new type, a register, and a dozen operations on it:

    zeros(a)                        a register of zeros, of the dtype of the array a
    broadcast(a, i)                 a[i] in every lane
    load(a, i)                      a[i], a[i + 1], ..., a[i + lanes - 1]
    load_part(a, i, count)          the first `count` of them, and zeros; count <= 0 reads nothing
    store(a, i, v)                  the reverse of load
    store_part(a, i, v, count)      the first `count` lanes only; count <= 0 writes nothing
    fma(total, u, v)                total + u * v in every lane, rounded once; u is a register or one number
    add(u, v), subtract(u, v)       lane by lane
    times(u, v)                     lane by lane; u is a register or one number
    maximum(u, v)                   lane by lane; a NaN in u comes through
    where_positive(u, v)            v in the lanes where u > 0, else 0

`a` is a one-dimensional C-contiguous array of float32 or float64, and `i` an index into it. Nothing checks that
what is read or written is inside: the kernels in this folder make sure, as every kernel in C has to. (Numba's own
`a[i]` costs more than it seems: it looks each time whether `i` is negative, to count from the end.)

With `NUMBA_DISABLE_JIT=1` the same names are NumPy functions on an array of lanes, so that every kernel can be stepped
through in a debugger and is seen by the coverage tool. They round `fma` twice.
"""

import os

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

__all__ = [
    "VECTOR_BYTES",
    "add",
    "broadcast",
    "fma",
    "load",
    "load_part",
    "maximum",
    "store",
    "store_part",
    "subtract",
    "times",
    "where_positive",
    "zeros",
]


def _vector_bytes():
    """Return the width in bytes of the widest register that this processor has."""
    chosen = os.environ.get("REPVGG_NP_VECTOR_BYTES")
    if chosen is not None:
        if chosen not in ("16", "32", "64"):
            raise ValueError(f"REPVGG_NP_VECTOR_BYTES must be 16, 32 or 64, got {chosen!r}")
        return int(chosen)
    features = binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


VECTOR_BYTES = _vector_bytes()


class Register(types.Type):
    """Numba's type of a vector register: `lanes` numbers of type `dtype`."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = 8 * VECTOR_BYTES // dtype.bitwidth
        super().__init__(name=f"Register({dtype} x {self.lanes})")


@register_default(Register)
class _RegisterModel(models.PrimitiveModel):
    """How a register is held by the compiled code: LLVM's `<16 x float>`."""

    def __init__(self, dmm, fe_type):
        element = ir.FloatType() if fe_type.dtype == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def _address(context, builder, array_type, array, index):
    """Return the address of `array[index]`, as one of a whole register, and the register's LLVM type."""
    register = context.get_value_type(Register(array_type.dtype))
    data = context.make_array(array_type)(context, builder, array).data
    pointer = builder.gep(data, [index])
    return builder.bitcast(pointer, register.as_pointer()), array_type.dtype.bitwidth // 8


@intrinsic
def _zeros(typing_context, a):
    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return Register(a.dtype)(a), generate


@intrinsic
def _load(typing_context, a, i):
    def generate(context, builder, signature, arguments):
        address, alignment = _address(context, builder, signature.args[0], *arguments)
        return builder.load(address, align=alignment)

    return Register(a.dtype)(a, types.intp), generate


@intrinsic
def _store(typing_context, a, i, v):
    def generate(context, builder, signature, arguments):
        array, index, value = arguments
        address, alignment = _address(context, builder, signature.args[0], array, index)
        builder.store(value, address, align=alignment)
        return context.get_dummy_value()

    return types.void(a, types.intp, v), generate


def _every_lane(builder, register, scalar):
    """Return a register with `scalar` in every lane."""
    lane_zero = builder.insert_element(ir.Constant(register, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), register.count), None)
    return builder.shuffle_vector(lane_zero, ir.Constant(register, ir.Undefined), everywhere)


@intrinsic
def _broadcast(typing_context, a, i):
    def generate(context, builder, signature, arguments):
        array, index = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        register = context.get_value_type(signature.return_type)
        return _every_lane(builder, register, builder.load(builder.gep(data, [index])))

    return Register(a.dtype)(a, types.intp), generate


def _first_lanes(builder, register, count):
    """Return LLVM's mask of the lanes whose number is below `count`."""
    count = builder.trunc(count, ir.IntType(32))  # sixteen of them fit into one register
    numbers = ir.VectorType(count.type, register.count)
    lane_numbers = ir.Constant(numbers, [ir.Constant(count.type, lane) for lane in range(register.count)])
    return builder.icmp_signed("<", lane_numbers, _every_lane(builder, numbers, count))


def _masked(builder, operation, register, pointer):
    """Declare LLVM's masked load or store of a whole register; return it."""
    letter = "f32" if isinstance(register.element, ir.FloatType) else "f64"
    mask, number = ir.VectorType(ir.IntType(1), register.count), ir.IntType(32)
    if operation == "load":
        kind = ir.FunctionType(register, [pointer.type, number, mask, register])
    else:
        kind = ir.FunctionType(ir.VoidType(), [register, pointer.type, number, mask])
    name = f"llvm.masked.{operation}.v{register.count}{letter}.p0"
    return cgutils.get_or_insert_function(builder.module, kind, name)


@intrinsic
def _load_part(typing_context, a, i, count):
    def generate(context, builder, signature, arguments):
        array, index, count = arguments
        address, alignment = _address(context, builder, signature.args[0], array, index)
        register = context.get_value_type(signature.return_type)
        function = _masked(builder, "load", register, address)
        mask = _first_lanes(builder, register, count)
        return builder.call(function, [address, ir.IntType(32)(alignment), mask, ir.Constant(register, None)])

    return Register(a.dtype)(a, types.intp, types.intp), generate


@intrinsic
def _store_part(typing_context, a, i, v, count):
    def generate(context, builder, signature, arguments):
        array, index, value, count = arguments
        address, alignment = _address(context, builder, signature.args[0], array, index)
        function = _masked(builder, "store", value.type, address)
        builder.call(function, [value, address, ir.IntType(32)(alignment), _first_lanes(builder, value.type, count)])
        return context.get_dummy_value()

    return types.void(a, types.intp, v, types.intp), generate


@intrinsic
def _fma(typing_context, total, u, v):
    def generate(context, builder, signature, arguments):
        total, u, v = arguments
        register = v.type
        if u.type != register:
            u = _every_lane(builder, register, u)
        letter = "f32" if isinstance(register.element, ir.FloatType) else "f64"
        name = f"llvm.fma.v{register.count}{letter}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(register, [register] * 3), name)
        return builder.call(function, [u, v, total])

    return total(total, u if isinstance(u, Register) else v.dtype, v), generate


@intrinsic
def _times(typing_context, u, v):
    def generate(context, builder, signature, arguments):
        u, v = arguments
        return builder.fmul(u if u.type == v.type else _every_lane(builder, v.type, u), v)

    return v(u if isinstance(u, Register) else v.dtype, v), generate


def _lane_by_lane(instruction):
    """Make an operation on two registers out of one of LLVM's instructions."""

    @intrinsic
    def operation(typing_context, u, v):
        def generate(context, builder, signature, arguments):
            return instruction(builder, *arguments)

        return u(u, v), generate

    return operation


_add = _lane_by_lane(lambda builder, u, v: builder.fadd(u, v))
_subtract = _lane_by_lane(lambda builder, u, v: builder.fsub(u, v))
# "Unordered or greater": true where u is a NaN, so that ReLU(NaN) stays NaN instead of becoming a silent zero.
_maximum = _lane_by_lane(lambda builder, u, v: builder.select(builder.fcmp_unordered(">", u, v), u, v))


_where_positive = _lane_by_lane(
    lambda builder, u, v: builder.select(
        builder.fcmp_ordered(">", u, ir.Constant(u.type, None)), v, ir.Constant(v.type, None)
    )
)


def _zeros_lanes(a):
    return np.zeros(VECTOR_BYTES // a.itemsize, a.dtype)


def _load_lanes(a, i):
    lanes = VECTOR_BYTES // a.itemsize
    assert 0 <= i <= a.size - lanes, "a register was loaded from outside of its array"
    return a[i : i + lanes].copy()


def _store_lanes(a, i, v):
    assert 0 <= i <= a.size - v.size, "a register was stored outside of its array"
    a[i : i + v.size] = v


def _broadcast_lanes(a, i):
    assert 0 <= i < a.size, "a number was read from outside of its array"
    return np.full(VECTOR_BYTES // a.itemsize, a[i])


def _load_part_lanes(a, i, count):
    v = _zeros_lanes(a)
    count = max(0, min(count, v.size))
    assert count == 0 or 0 <= i <= a.size - count, "a register was loaded from outside of its array"
    v[:count] = a[i : i + count] if count else 0
    return v


def _store_part_lanes(a, i, v, count):
    count = max(0, min(count, v.size))
    assert count == 0 or 0 <= i <= a.size - count, "a register was stored outside of its array"
    if count:
        a[i : i + count] = v[:count]


def _fma_lanes(total, u, v):
    return total + u * v


def _times_lanes(u, v):
    return (u * v).astype(v.dtype, copy=False)


def _maximum_lanes(u, v):
    return np.maximum(u, v)


def _where_positive_lanes(u, v):
    return np.where(u > 0, v, v.dtype.type(0))


if config.DISABLE_JIT:
    where_positive = _where_positive_lanes
    zeros, broadcast, load, store, fma = _zeros_lanes, _broadcast_lanes, _load_lanes, _store_lanes, _fma_lanes
    load_part, store_part = _load_part_lanes, _store_part_lanes
    add, subtract, times, maximum = np.add, np.subtract, _times_lanes, _maximum_lanes
else:
    where_positive = _where_positive
    zeros, broadcast, load, store, fma = _zeros, _broadcast, _load, _store, _fma
    load_part, store_part = _load_part, _store_part
    add, subtract, times, maximum = _add, _subtract, _times, _maximum
