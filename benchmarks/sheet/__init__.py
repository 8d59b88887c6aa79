"""Draw the README's sheets: 24 prompts beside their samples; `benchmarks.sheet.styles` draws styles side by side.

    python -m benchmarks.sheet --out benchmarks/sheet.png

The pictures are those that `python -m benchmarks.consistency` keeps; the ones that are missing are drawn first.
"""
