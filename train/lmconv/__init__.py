"""Train locally masked PixelCNNs: networks that model a picture in any generation order (LMConv; thesis chapter 2)."""
