"""Are generated views seen from where they were asked for? A probe that reads azimuths from pictures says.

    python -m benchmarks.azimuth train --data objects --run runs/azimuth
    python -m benchmarks.azimuth measure --data objects --run runs/azimuth --bundle objects --out benchmarks/azimuth.png

The first trains a small network on rendered views of objects with a front (a part is held out by the same rule as in
`train.latent_diffusion.objects`); the second reads views of held-out objects, which is how good the probe is, and views
that a bundle draws of prompts. A front taken for a back is an error of over 150 degrees; 17 % is chance.
"""
