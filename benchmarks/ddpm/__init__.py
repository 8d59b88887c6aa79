"""What does a step of DDPM cost: ONNX Runtime, PyTorch eager or compiled, and diffusers' pipeline of the same weights?

    python -m benchmarks.ddpm [--json] [--threads N] [--only NAME] [--compile]

All run the same random weights in one run, taking turns. A picture is `STEPS` deterministic steps: ours by
`runtime.guidance`, the peer's by `diffusers.DDIMPipeline`. Compilation takes minutes, so it is asked for. The floor is
the time that the multiplications of the exported network would take at the rate of a large matrix product on the same
threads.
"""
