"""The backend `tensorrt`: which plans of a graph fit this GPU and the TensorRT that is installed."""

from runtime.engines.backends.editions import capability_of, installed_editions, require_edition
from runtime.engines.backends.graphs import Graph
from runtime.engines.backends.plans import PlanDocument, PlanKey, list_plans, read_plan
from runtime.engines.backends.table import Choice
from runtime.engines.precision import Compute
from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError


def has_cuda() -> bool:
    """Return whether PyTorch sees a GPU: TensorRT works on PyTorch's memory."""
    import torch

    return torch.cuda.is_available()


def ready(graph: Graph, device: str) -> list[Choice]:
    """Return a choice for each precision that has a plan."""
    if device == "cpu":
        return []
    built = {plan.key for plan in list_plans(graph.plans)}
    keys = [_keys(graph, device, precision) for precision in Compute]
    return [
        Choice("tensorrt", device, precision)
        for precision, fitting in zip(Compute, keys, strict=True)
        if built & {*fitting}
    ]


def missing(graph: Graph, device: str) -> str:
    """Raise a `UserError` that names what is missing: a GPU, TensorRT, or a plan."""
    if device == "cpu":
        raise UserError(
            "--backend tensorrt: expected an NVIDIA GPU, and the networks run on the CPU here; use --backend ort or "
            "torch, or --device cuda where there is a GPU"
        )
    if not installed_editions():
        require_edition("tensorrt_rtx")
    plans = ", ".join(str(plan.key) for plan in list_plans(graph.plans)) or "none"
    capability = capability_of(device)
    raise UserError(
        f"engine '{graph.name}' has no TensorRT plan for {capability} by the version that is installed, but {plans}; "
        f"build it with: python -m export build BUNDLE --target {capability}"
    )


def make(graph: Graph, choice: Choice, *, threads: int | None = None, compile: bool = False) -> BindableEngine:
    """Return the engine of a graph's plan; arguments and errors as of `table.Driver`."""
    from runtime.engines.backends.trt import TrtEngine

    keys = _keys(graph, choice.device, Compute(choice.precision or "model"))
    # raises the error that names the extra to install
    if not keys:
        require_edition("tensorrt_rtx")
    plan = plan_of(graph, choice)
    key = plan.key if plan else keys[0]  # without any, `read_plan` says what is missing
    return TrtEngine(graph.spec, read_plan(graph.plans, key), edition=key.edition, device=choice.device)


def plan_of(graph: Graph, choice: Choice) -> PlanDocument | None:
    """Return the document of the plan that `make` takes for a graph; None where there is none."""
    built = {plan.key: plan for plan in list_plans(graph.plans)}
    keys = _keys(graph, choice.device, Compute(choice.precision or "model"))
    return next((built[key] for key in keys if key in built), None)


def _keys(graph: Graph, device: str, precision: Compute) -> list[PlanKey]:
    """Return the key that a graph's plan has for each edition of TensorRT that is installed."""
    capability = capability_of(device)
    versions = {edition: str(require_edition(edition).__version__) for edition in installed_editions()}
    return [graph.key(edition, version, capability, precision) for edition, version in versions.items()]
