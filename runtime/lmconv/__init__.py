"""Complete pictures, or draw them, in any order of their pixels: a locally masked PixelCNN and a cached sampler.

    python -m runtime.lmconv complete digit.png --hide top --samples 4
    python -m runtime.lmconv sample --count 16 --order hilbert --video

Thesis chapters 2 and 8 (LMConv; arXiv:2006.12486). Every hidden pixel is drawn from all that is observed and from the
hidden pixels before it. What comes of it is a sheet, a PNG file.

`Complete` and `Sample` say what to draw, `complete` and `sample` draw it, `main` is the command.
"""

from runtime.lmconv.command import Complete, Sample, complete, main, sample

__all__ = ["Complete", "Sample", "complete", "main", "sample"]
