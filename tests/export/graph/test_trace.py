import onnx
import pytest
import torch
from torch import Tensor, nn

from export.graph.trace import export_onnx
from export.network import batched
from runtime.engines.backends.ort import OrtEngine
from tests.tolerance import ENGINE_FLOAT32

SPEC = batched("small", {"x": (4, 8, 8), "t": ("int64",)}, {"y": (2, 8, 8)})


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 2, 3, padding=1), nn.GroupNorm(2, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.conv(x)) + torch.sin(t.float())[:, None, None, None])


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(module: nn.Module) -> onnx.ModelProto:
    return export_onnx(module, SPEC, (torch.randn(2, 4, 8, 8), torch.tensor([1, 2])))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_batch_gives_what_pytorch_gives(module: nn.Module, model: onnx.ModelProto, batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    inputs = torch.randn(batch, 4, 8, 8, generator=generator), torch.arange(batch)
    output = OrtEngine(SPEC, model.SerializeToString(), threads=1)(*inputs)[0]
    torch.testing.assert_close(output, module(*inputs), atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_the_model_bears_the_spec_and_no_trace_of_this_machine(model: onnx.ModelProto) -> None:
    assert [i.name for i in model.graph.input] == ["x", "t"]
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["B", 4, 8, 8]
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == ["B", 2, 8, 8]
    content = model.SerializeToString()
    for trace in (b"File ", b".py", b"stack_trace", __file__.encode()):
        assert trace not in content


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ({"x": (4, 8, 8), "t": ("int64",)}, {"y": (3, 8, 8)}, r"tensor 'y': expected \(B, 3, 8, 8\) float32 in the m"),
        ({"x": (4, 8, 9), "t": ("int64",)}, {"y": (2, 8, 8)}, "engine 'small' input 'x': expected"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(module: nn.Module, inputs: dict, outputs: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        export_onnx(module, batched("small", inputs, outputs), (torch.randn(2, 4, 8, 8), torch.tensor([1, 2])))
