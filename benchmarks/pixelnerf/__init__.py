"""How good are new views from one picture: pixelNeRF beside a visual hull and the nearest object that was trained on.

    python -m benchmarks.pixelnerf pixelnerf --data objects --cache objects-cache

From view 0 of each validation object to all its others, at the network's size, on white: means over the objects of
PSNR, SSIM and the tower distance (see `benchmarks.pixelnerf.tower`; not LPIPS). The hull is the cone of the silhouette
in the unit ball, of the picture's mean colour. The nearest object is the trained one whose view 0 has the least squared
error to the picture; its views from the same angles are the guess, as if it were the object.

With --tune STEPS the network is fitted to each object's input pictures too, as in the thesis' Table 3.2: by squared
errors alone, and by the semantic loss of an image encoder as well (DietPixelNeRF).
"""
