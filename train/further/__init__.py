"""Train a bundled network further for some minutes on a graphics card, from one file of arrays.

    python -m train.further prepare ddpm --run runs/icons --data data/icons.npz --out further-ddpm.npz
    python -m train.further --arrays further-ddpm.npz --out further --minutes 8 --device cuda

The first command takes a run of `train.ddpm`, `train.pixelnerf` or `train.lmconv` and its data, and writes one file of
bytes and half-precision weights, small enough to be carried to a machine that has nothing else. The second continues
there: compiled, in bfloat16, in large batches that are drawn on the device, with a moving average whose loss on
what is held out is taken every half minute. The best averaged weights so far are in `--out` as soon as they are found,
beside the run's config.json: `python -m export` takes that folder as it takes the run's own.
"""
