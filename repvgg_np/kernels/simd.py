"""The vector register as a Python value: the only file here that speaks LLVM.

A processor's arithmetic units work on registers that hold several numbers, its *lanes*: sixteen float32 with AVX-512,
eight with AVX2, four on ARM. Left to itself a compiler finds some of that parallelism in plain loops, and loses about
half of the speed. So this file gives Numba one new type, a register, and seven operations on it:

    zeros(a)                        a register of zeros, of the dtype of the array a
    load(a, i)                      a[i], a[i + 1], ..., a[i + lanes - 1]
    store(a, i, v)                  the reverse
    fma(total, scalar, v)           total + scalar * v in every lane, rounded once
    add(u, v), subtract(u, v)       lane by lane
    maximum(u, v)                   lane by lane; a NaN in u comes through

`a` is a one-dimensional C-contiguous array of float32 or float64, and `i` an index into it. Nothing checks that
`i + lanes` is inside: the kernels in this folder make sure, as every kernel in C has to.

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

__all__ = ["VECTOR_BYTES", "add", "fma", "load", "maximum", "store", "subtract", "zeros"]


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


@intrinsic
def _fma(typing_context, total, scalar, v):
    def generate(context, builder, signature, arguments):
        total, scalar, vector = arguments
        register = vector.type
        lane_zero = builder.insert_element(ir.Constant(register, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
        every_lane = ir.Constant(ir.VectorType(ir.IntType(32), register.count), None)
        broadcast = builder.shuffle_vector(lane_zero, ir.Constant(register, ir.Undefined), every_lane)
        letter = "f32" if isinstance(register.element, ir.FloatType) else "f64"
        name = f"llvm.fma.v{register.count}{letter}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(register, [register] * 3), name)
        return builder.call(function, [broadcast, vector, total])

    return total(total, v.dtype, v), generate


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


def _zeros_lanes(a):
    return np.zeros(VECTOR_BYTES // a.itemsize, a.dtype)


def _load_lanes(a, i):
    lanes = VECTOR_BYTES // a.itemsize
    assert 0 <= i <= a.size - lanes, "a register was loaded from outside of its array"
    return a[i : i + lanes].copy()


def _store_lanes(a, i, v):
    assert 0 <= i <= a.size - v.size, "a register was stored outside of its array"
    a[i : i + v.size] = v


def _fma_lanes(total, scalar, v):
    return total + scalar * v


def _maximum_lanes(u, v):
    return np.maximum(u, v)


if config.DISABLE_JIT:
    zeros, load, store, fma = _zeros_lanes, _load_lanes, _store_lanes, _fma_lanes
    add, subtract, maximum = np.add, np.subtract, _maximum_lanes
else:
    zeros, load, store, fma = _zeros, _load, _store, _fma
    add, subtract, maximum = _add, _subtract, _maximum
