"""A model whose large weights are arrays beside it, so that protobuf's 2 GB limit does not apply.

An ONNX file is a protobuf message of at most 2 GB, and each backend reads weights in other files in its own way. So
every large weight is an array here that views verified bytes; the message keeps only its name, type and sizes.
Passes over the graph (folding, precision) replace arrays, and a builder hands them to a parser by address.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import UserError

LARGE = 1024
"""Least bytes of a weight that lies beside the message; small ones (shapes, axes) stay inside, for the parsers."""

Files = Mapping[str, bytes | memoryview]
"""Verified content of the files beside a model, by name."""


@dataclass
class ExternalDataModel:
    """A model and its large weights."""

    proto: onnx.ModelProto
    """The graph; a weight of `weights` has no values here."""
    weights: dict[str, np.ndarray]
    """Values by name."""

    def put(self, name: str, value: np.ndarray) -> None:
        """Add a weight, or replace its values."""
        value = np.asarray(value)
        value = value if value.flags.c_contiguous else value.copy()  # it is read by address
        present = next((weight for weight in self.proto.graph.initializer if weight.name == name), None)
        # A weight that has become small moves into the message, and its old array must not be handed over beside it.
        tensor = self.proto.graph.initializer.add() if present is None else present
        self.weights.pop(name, None)
        if value.nbytes < LARGE:
            tensor.CopyFrom(numpy_helper.from_array(value, name))
            return
        tensor.CopyFrom(
            TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
        )
        tensor.data_location = TensorProto.EXTERNAL
        # No such file exists: ONNX calls a tensor external only with a location, and parsers get the values by address.
        for key, text in (("location", "beside"), ("offset", "0"), ("length", str(value.nbytes))):
            tensor.external_data.add(key=key, value=text)
        self.weights[name] = value

    def drop(self, names: set[str]) -> None:
        """Remove weights."""
        # Protobuf lists have no removal by value, and deleting one by one is quadratic in thousands of weights.
        rest = [weight for weight in self.proto.graph.initializer if weight.name not in names]
        del self.proto.graph.initializer[:]
        self.proto.graph.initializer.extend(rest)
        for name in names:
            self.weights.pop(name, None)

    def values(self) -> dict[str, np.ndarray]:
        """Return every weight, small ones too."""
        small = {
            w.name: numpy_helper.to_array(w)
            for w in self.proto.graph.initializer
            if w.data_location != TensorProto.EXTERNAL
        }
        return small | self.weights

    @property
    def nbytes(self) -> int:
        """Bytes of the large weights."""
        return sum(weight.nbytes for weight in self.weights.values())


def load_model(content: bytes, files: Files, where: str) -> ExternalDataModel:
    """Return a model of a file's content, without copying the weights that lie in other files.

    Args:
        content: verified content of model.onnx.
        files: the files that it names.
        where: name of the model, for messages.

    Raises:
        UserError: the content is no ONNX model, or names a file, or a place in one, that does not exist.
    """
    from google.protobuf.message import DecodeError

    try:
        model = ExternalDataModel(onnx.ModelProto.FromString(content), {})
    except DecodeError as error:
        raise UserError(
            f"{where}: expected an ONNX model, got content that is none ({error}); export it again"
        ) from None
    # Any few bytes may parse as an empty message: protobuf has no magic number.
    if not model.proto.graph.node:
        raise UserError(f"{where}: expected an ONNX model, got one without a node; export it again")
    # A list: `put` may add initializers while they are walked over.
    for weight in list(model.proto.graph.initializer):
        model.put(weight.name, _values(weight, files, where))
    return model


def _values(weight: TensorProto, files: Files, where: str) -> np.ndarray:
    if weight.data_location != TensorProto.EXTERNAL:
        return numpy_helper.to_array(weight)
    entries = {entry.key: entry.value for entry in weight.external_data}
    name = entries.get("location", "")
    texts = (entries.get("offset", "0"), entries.get("length", "0"))
    dtype = helper.tensor_dtype_to_np_dtype(weight.data_type)
    # int64 explicitly, as a product of sizes overflows int32 where that is NumPy's default.
    count = int(np.prod(weight.dims, dtype=np.int64))
    place = f"{where}: weight {weight.name!r:.100}"
    if name not in files:
        raise UserError(f"{place} lies in the file {name!r:.100}, which the bundle does not list; export it again")
    try:
        offset, length = (int(text) for text in texts)
    except ValueError:
        raise UserError(f"{place}: expected numbers, got {texts[0]!r:.40} and {texts[1]!r:.40}") from None
    # Hashes say that a bundle is whole, not that it is meant well: a place outside of the file is refused.
    if offset < 0 or length != count * dtype.itemsize or offset + length > len(files[name]):
        raise UserError(
            f"{place}: expected {count * dtype.itemsize} bytes within the {len(files[name])} of {name!r:.100}, "
            f"got {length} at {offset}; export it again"
        )
    # A view, not a copy: the array keeps the file's bytes alive.
    return np.frombuffer(files[name], dtype, count, offset).reshape(tuple(weight.dims))


def run_model(model: ExternalDataModel, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
    """Return outputs of a model under ONNX Runtime, without optimizations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Sums may be split by thread, so that their rounding would depend on the machine.
    options.intra_op_num_threads = 1
    # What is computed here replaces the nodes themselves, so no fused kernel may round differently.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    names = list(model.weights)
    if names:
        options.add_external_initializers(names, [ort.OrtValue.ortvalue_from_numpy(model.weights[n]) for n in names])
    session = ort.InferenceSession(model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), dict(inputs))  # pyright: ignore
