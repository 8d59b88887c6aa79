import numpy as np
import pytest
import torch

from runtime.engines.autograd import Value, Vjp, differentiable, value_of_engine, vjp_of_engine
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.spec import EngineSpec, TensorSpec
from tests.bundles import Graph, make_latent_encoder_module
from tests.tolerance import VJP_FLOAT32

X = TensorSpec("x", ("B", 3), "float32")
VALUE = EngineSpec("cube", (X,), (TensorSpec("y", ("B", 3), "float32"),), {"B": (1, 2, 8)})
VJP = EngineSpec(
    "cube_vjp",
    (X, TensorSpec("cotangent", ("B", 3), "float32")),
    (TensorSpec("y", ("B", 3), "float32"), TensorSpec("gradient", ("B", 3), "float32")),
    {"B": (1, 2, 8)},
)


def vjp_of_module(function: Value) -> Vjp:
    """Return the VJP of a differentiable PyTorch function, which runs its forward again."""

    def vjp(x: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
        # A backward pass runs without recording, and this needs a graph of its own.
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(function(x), x, cotangent)[0]

    return vjp


@pytest.fixture(scope="module")
def cube() -> OrtEngine:
    """Gives x^3."""
    g = Graph(0)
    return OrtEngine(VALUE, g.model(VALUE, g.op("Mul", g.op("Mul", "x", "x"), "x")), threads=1)


@pytest.fixture(scope="module")
def cube_vjp() -> OrtEngine:
    """Gives x^3 and 3 x^2 times the cotangent."""
    g = Graph(0)
    square = g.op("Mul", "x", "x")
    slope = g.op("Mul", square, g.constant(3.0, np.float32))
    return OrtEngine(VJP, g.model(VJP, g.op("Mul", square, "x"), g.op("Mul", slope, "cotangent")), threads=1)


def test_an_engine_with_a_pytorch_gradient_has_the_closed_form(cube: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_module(lambda x: x**3))
    x = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    y = function(x)
    (2.0 * y).sum().backward()
    assert torch.equal(y.detach(), torch.tensor([[1.0, -8.0, 0.125]]))
    torch.testing.assert_close(x.grad, torch.tensor([[6.0, 24.0, 1.5]]))


def test_a_value_and_vjp_engine_has_the_closed_form(cube: OrtEngine, cube_vjp: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_engine(cube_vjp))
    x = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 5.0, 0.0]])
    (function(x) * weights).sum().backward()
    torch.testing.assert_close(x.grad, 3.0 * x.detach() ** 2 * weights)


def test_a_cotangent_that_is_expanded_or_transposed_is_taken(cube: OrtEngine, cube_vjp: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_engine(cube_vjp))
    x = torch.rand(3, 3, requires_grad=True)
    function(x).sum().backward()
    torch.testing.assert_close(x.grad, 3.0 * x.detach() ** 2)


def test_the_bridge_has_the_gradient_of_autograd_through_a_network(tiny: DiffusionBundle) -> None:
    module = make_latent_encoder_module(0)
    function = differentiable(value_of_engine(tiny.engine("latent_encoder")), vjp_of_module(module))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 128, 128, generator=generator).requires_grad_()
    cotangent = torch.randn(2, 4, 16, 16, generator=generator)
    (gradient,) = torch.autograd.grad(function(images), images, cotangent)
    (expected,) = torch.autograd.grad(module(images), images, cotangent)
    torch.testing.assert_close(gradient, expected, atol=VJP_FLOAT32 * float(expected.abs().max()), rtol=0)


def test_the_graph_in_front_of_the_bridge_gets_its_gradient(cube: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_module(lambda x: x**3))
    scale = torch.tensor(2.0, requires_grad=True)
    function(scale * torch.ones(1, 3)).sum().backward()
    assert float(scale.grad) == pytest.approx(3 * 3 * 2.0**2)


def test_without_gradients_there_is_no_node(cube: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_module(lambda x: x**3))
    assert not function(torch.ones(1, 3)).requires_grad
    with torch.no_grad():
        assert not function(torch.ones(1, 3, requires_grad=True)).requires_grad


def test_a_second_derivative_is_refused(cube: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), vjp_of_module(lambda x: x**3))
    x = torch.ones(1, 3, requires_grad=True)
    (first,) = torch.autograd.grad((function(x) * x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_gradient_of_another_shape_is_refused(cube: OrtEngine) -> None:
    function = differentiable(value_of_engine(cube), lambda x, cotangent: cotangent[:, :2])
    with pytest.raises(ValueError, match=r"vector-Jacobian product: expected \(1, 3\), got \(1, 2\)"):
        function(torch.ones(1, 3, requires_grad=True)).sum().backward()


def test_an_engine_without_a_cotangent_is_no_vjp(cube: OrtEngine) -> None:
    with pytest.raises(ValueError, match=r"engine 'cube': expected 2 inputs \(x, cotangent\).* got 1 and 1"):
        vjp_of_engine(cube)
