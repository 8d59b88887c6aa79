"""Compiled: vectors of four float32, the values of a node: one load, one product and one sum for all four.

Numba's scalars become such instructions only where LLVM finds them, which it seldom does for gathers. So the kernels
say it themselves.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_intrinsic: Any = intrinsic  # it has a signature of its own

_LANES = 4
_LLVM = ir.VectorType(ir.FloatType(), _LANES)
_FUSED = ("contract",)
"""A product and a sum may become one instruction with one rounding: twice the speed, and the same on every run."""


class Vector(types.Type):
    """Numba's type of four float32."""

    def __init__(self) -> None:
        super().__init__(name="float32x4")


vector = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _LLVM)


def _address(context: Any, builder: Any, array_type: Any, array: Any, place: Any) -> Any:
    """Return the address of four consecutive numbers of a flat array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), _LLVM.as_pointer())


def _splat(builder: Any, number: Any) -> Any:
    """Return a vector whose lanes are one number."""
    first = builder.insert_element(ir.Constant(_LLVM, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(first, first, zeros)


@_intrinsic
def load(_typing, array, place):
    """The numbers array[place : place + 4] of a flat float32 array."""

    def build(context, builder, signature, args):
        # An alignment of 4: an array that a user has sliced may begin anywhere.
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return vector(array, types.int64), build


@_intrinsic
def store(_typing, array, place, values):
    """Write four numbers to array[place : place + 4]."""

    def build(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), build


@_intrinsic
def splat(_typing, number):
    """Four times one float32."""

    def build(context, builder, signature, args):
        return _splat(builder, args[0])

    return vector(types.float32), build


@_intrinsic
def pack(_typing, a, b, c, d):
    """Four float32 as a vector."""

    def build(context, builder, signature, args):
        packed = ir.Constant(_LLVM, ir.Undefined)
        for lane, number in enumerate(args):
            packed = builder.insert_element(packed, number, ir.Constant(ir.IntType(32), lane))
        return packed

    return vector(*[types.float32] * _LANES), build


@_intrinsic
def add_scaled(_typing, total, scale, values):
    """The sum total + scale * values, with a float32 scale."""

    def build(context, builder, signature, args):
        scaled = builder.fmul(_splat(builder, args[1]), args[2], flags=_FUSED)
        return builder.fadd(args[0], scaled, flags=_FUSED)

    return vector(vector, types.float32, vector), build


def _elementwise(name: str) -> Any:
    @_intrinsic
    def operation(_typing, left, right):
        """Apply an operation lane by lane."""

        def build(context, builder, signature, args):
            return getattr(builder, name)(*args, flags=_FUSED)

        return vector(vector, vector), build

    return operation


add = _elementwise("fadd")
subtract = _elementwise("fsub")
multiply = _elementwise("fmul")
divide = _elementwise("fdiv")


@_intrinsic
def square_root(_typing, values):
    """The square root of each lane."""

    def build(context, builder, signature, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_LLVM, [_LLVM]), "llvm.sqrt.v4f32")
        return builder.call(function, args)

    return vector(vector), build


def _compared(name: str) -> Any:
    @_intrinsic
    def choose(_typing, left, right):
        """Return the smaller or the larger of two lanes."""

        def build(context, builder, signature, args):
            return builder.select(builder.fcmp_ordered(name, *args), *args)

        return vector(vector, vector), build

    return choose


minimum = _compared("<")
maximum = _compared(">")


@_intrinsic
def lane(_typing, values, index):
    """One lane; the index is a constant in [0, 4)."""

    def build(context, builder, signature, args):
        return builder.extract_element(args[0], builder.trunc(args[1], ir.IntType(32)))

    return types.float32(vector, types.int64), build


@_intrinsic
def bits_of(_typing, number):
    """The bits of a float32 as an int32."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), build


@_intrinsic
def from_bits(_typing, bits):
    """The float32 that has these bits."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), build
