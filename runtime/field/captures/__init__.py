"""Captures: posed pictures of a scene in the formats that people have.

    capture = load_capture(Path("capture/"))          # normalized: the scene in [-1, 1]^3, +z up
    train, test = split_views(capture, views=8)
    pictures = capture.rgba(train)                    # (V, H, W, 4), straight alpha

| format | what is looked for |
|---|---|
| nerfstudio, instant-ngp | transforms.json |
| Blender (NeRF's synthetic scenes) | transforms_train.json and, if there are, _val and _test |
| LLFF | poses_bounds.npy |
| COLMAP | cameras, images and points3D, .bin or .txt, in sparse/0 |
| DTU | cameras.npz with world_mat and scale_mat, image/, mask/ |
| folder | poses.npz beside pictures |
| archive | one .npz with images and poses |
"""

from runtime.field.captures.capture import Capture
from runtime.field.captures.normalize import Frame, normalize
from runtime.field.captures.read import load_capture, read_capture
from runtime.field.captures.views import choose_views, split_views
from runtime.field.captures.write import write_transforms

__all__ = [
    "Capture",
    "Frame",
    "choose_views",
    "load_capture",
    "normalize",
    "read_capture",
    "split_views",
    "write_transforms",
]
