"""A network as Triton's model configuration, and back: names, types and sizes out of its spec.

What `ModelConfig` has no field for (names of free dimensions, their ranges, hashes of files) stands in its parameters,
so that a configuration gives back the very spec that it was made of.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from runtime.engines.spec import EngineSpec, FileSpec, TensorSpec
from runtime.errors import UserError

pb: Any = model_config_pb2
"""Protocol buffers of Triton's configurations; their classes are made at run time, so no checker knows them."""

DTYPES: Mapping[str, str] = {
    "float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "float64": "FP64", "int64": "INT64", "int32": "INT32",
    "int8": "INT8", "uint8": "UINT8", "bool": "BOOL",
}  # fmt: skip
"""Triton's name of each type of a spec."""

_NAMES = {triton: name for name, triton in DTYPES.items()}


@dataclass(frozen=True)
class Placement:
    """How a network is run."""

    platform: str = "onnxruntime"
    """onnxruntime, or tensorrt_plan."""
    plans: tuple[tuple[str, str], ...] = ()
    """File of each plan by compute capability, such as ("8.9", "sm89.plan")."""
    version: int = 1
    """The version that is served."""


def model_name(bundle: str, graph: str) -> str:
    """Return the name of a network's model: `icons_denoiser`, `icons_latent_encoder_vjp`."""
    return f"{bundle}_{graph}".replace(".", "_").replace("-", "_")


def network_config(name: str, spec: EngineSpec, placement: Placement) -> Any:
    """Return the configuration of a network.

    Args:
        name: of the model.
        spec: what the network takes and gives.
        placement: how it is run.
    """
    batch = batch_of(spec)
    config = pb.ModelConfig(name=name, max_batch_size=spec.ranges[batch][2] if batch else 0)
    if placement.platform == "onnxruntime":
        config.backend = "onnxruntime"
        config.default_model_filename = "model.onnx"
    else:
        config.platform = "tensorrt_plan"
        for capability, file in placement.plans:
            config.cc_model_filenames[capability] = file
    for tensors, field in ((spec.inputs, config.input), (spec.outputs, config.output)):
        for tensor in tensors:
            dims = [-1 if isinstance(size, str) else size for size in _unbatched(tensor.shape, batch)]
            data_type = pb.DataType.Value(f"TYPE_{DTYPES[tensor.dtype]}")
            # A number for each example has no dimensions, which Triton does not take: it is one of a single element.
            entry = field.add(name=tensor.name, data_type=data_type, dims=dims or [1])
            if not dims:
                entry.reshape.SetInParent()
    config.version_policy.specific.versions.append(placement.version)
    config.instance_group.add(count=1)
    if batch:
        # No policy of the queue, neither a size nor a timeout: with one Triton hands out a batch only while an instance
        # is waiting for it. A request that comes while the instance is on its way back from the last batch then wakes
        # nobody, and the batcher looks again after half a second (r24.10, dynamic_batch_scheduler.cc, Enqueue and
        # BatcherThread). Nothing else bounds the queue, and nothing has to: each job waits for its own call.
        # No delay: a loop that is alone would wait at each step, and what comes while the network is busy is batched.
        config.dynamic_batching.SetInParent()
    _add_warmup(config, spec, batch)
    for key, value in _parameters(spec, batch).items():
        config.parameters[key].string_value = value
    return config


def batch_of(spec: EngineSpec) -> str | None:
    """Return the free first dimension that all tensors share, along which Triton may batch; None: there is none."""
    firsts = {tensor.shape[0] if tensor.shape else 0 for tensor in (*spec.inputs, *spec.outputs)}
    (first, *others) = firsts
    return first if isinstance(first, str) and not others and spec.ranges[first][0] == 1 else None


def wire_shape(shape: Sequence[int], *, batched: bool) -> list[int]:
    """Return the shape in which a tensor goes to a server and comes from it; see `network_config`."""
    return [*shape, 1] if batched and len(shape) == 1 else list(shape)


def _unbatched(shape: Sequence[int | str], batch: str | None) -> Sequence[int | str]:
    return shape[1:] if batch else shape


def _parameters(spec: EngineSpec, batch: str | None) -> dict[str, str]:
    """Return what no field of a configuration holds."""
    values = {"spec.name": spec.name}
    if batch:
        values["spec.batch"] = batch
    for tensor in (*spec.inputs, *spec.outputs):
        if free := [size for size in _unbatched(tensor.shape, batch) if isinstance(size, str)]:
            values[f"spec.free.{tensor.name}"] = " ".join(free)
    values |= {f"spec.range.{name}": " ".join(map(str, sizes)) for name, sizes in spec.ranges.items()}
    return values | {f"spec.file.{name}": _file_text(file) for name, file in spec.files.items()}


def _file_text(file: FileSpec) -> str:
    """Return size and hash of a file, and bundle and path of one that another bundle has."""
    return " ".join([str(file.size), file.sha256, *([file.bundle, file.path] if file.bundle else [])])


def _add_warmup(config: Any, spec: EngineSpec, batch: str | None) -> None:
    """Let the server run the network once before it says that it is ready."""
    warmup = config.model_warmup.add(name="first", batch_size=1 if batch else 0, count=1)
    for tensor in spec.inputs:
        sizes = {name: sizes[1] for name, sizes in spec.ranges.items()}
        dims = [sizes[size] if isinstance(size, str) else size for size in _unbatched(tensor.shape, batch)]
        data = warmup.inputs[tensor.name]
        data.data_type = pb.DataType.Value(f"TYPE_{DTYPES[tensor.dtype]}")
        data.dims.extend(dims or [1])
        # Whole numbers are indices, of tokens or pixels: random ones would lie outside.
        if tensor.dtype.startswith("float"):
            data.random_data = True
        else:
            data.zero_data = True


def spec_of(config: Any) -> EngineSpec:
    """Return the spec that a configuration was made of.

    Raises:
        UserError: it is not that of a network of a bundle.
    """
    values = {key: value.string_value for key, value in config.parameters.items()}
    where = f"model '{config.name}'"
    if "spec.name" not in values:
        raise UserError(f"{where}: expected the configuration of a network, got one without its spec; build it again")
    batch = values.get("spec.batch")
    ranges: dict[str, tuple[int, int, int]] = {}
    files: dict[str, FileSpec] = {}
    for key, value in values.items():
        if key.startswith("spec.range."):
            low, typical, high = map(int, value.split())
            ranges[key.removeprefix("spec.range.")] = (low, typical, high)
        elif key.startswith("spec.file."):
            size, digest, *place = value.split()
            files[key.removeprefix("spec.file.")] = FileSpec(int(size), digest, *place)
    if batch and config.max_batch_size != ranges[batch][2]:
        raise UserError(f"{where}: max_batch_size: expected {ranges[batch][2]}, got {config.max_batch_size}")
    sides = [tuple(_tensor(entry, values, batch) for entry in side) for side in (config.input, config.output)]
    return EngineSpec(values["spec.name"], sides[0], sides[1], ranges, files)


def _tensor(entry: Any, values: Mapping[str, str], batch: str | None) -> TensorSpec:
    free = iter(values.get(f"spec.free.{entry.name}", "").split())
    dims: list[int | str] = [next(free) if size == -1 else int(size) for size in entry.dims]
    if entry.HasField("reshape"):
        dims = []
    dtype = _NAMES[pb.DataType.Name(entry.data_type).removeprefix("TYPE_")]
    return TensorSpec(entry.name, tuple([batch, *dims] if batch else dims), dtype)


def copy_name(method: str, number: int) -> str:
    """Return the name of the model of a method that does its jobs of lane `number`, from 1: `toy`, `toy-2` ...

    Each copy is a model of one process. Instances of one model would share their fate: Triton goes on sending requests
    to one that was killed, and to load the model again ends them all.
    """
    return method if number == 1 else f"{method}-{number}"


def method_config(name: str, home: str, *, networks: str, number: int = 1) -> Any:
    """Return the configuration of a copy of a method: a decoupled model that draws and reports on the way.

    Args:
        name: of the method.
        home: where it is imported from.
        number: of the copy, from 1.
        networks: `process`: its process runs the networks; `triton`: the server does, batched over jobs.
    """
    config = pb.ModelConfig(name=copy_name(name, number), backend="python", max_batch_size=0)
    config.model_transaction_policy.decoupled = True
    config.input.add(name="REQUEST", data_type=pb.TYPE_STRING, dims=[1])
    for output, dims in (("KIND", [1]), ("DATA", [1]), ("CONTENT", [-1])):
        config.output.add(name=output, data_type=pb.TYPE_STRING, dims=dims)
    config.instance_group.add(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)
    config.parameters["home"].string_value = home
    config.parameters["method"].string_value = name
    config.parameters["copy"].string_value = str(number)
    config.parameters["networks"].string_value = networks
    return config


def to_text(config: Any) -> str:
    """Return a configuration as config.pbtxt."""
    return text_format.MessageToString(config, use_short_repeated_primitives=True)


def from_text(text: str, where: str) -> Any:
    """Return the configuration in a config.pbtxt.

    Raises:
        UserError: it has a field or a value that Triton does not know.
    """
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise UserError(f"{where}: expected a model configuration, got something else ({error})") from None


def describe(config: Any) -> str:
    """Return what a model is, in a line."""
    inputs = ", ".join(f"{entry.name} {json.dumps(list(entry.dims))}" for entry in config.input)
    return f"{config.name} ({config.backend or config.platform}): {inputs}"
