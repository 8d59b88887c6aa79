"""Which of Dream Fields' priors helps a small image-text encoder? Rows of thesis Tables 4.1 and 4.2 on a few prompts.

    python -m benchmarks.dreamfields --out dreams [--rows mlp voxels] [--count 4]

Each row changes one option of the command's default. After each prompt the folder gets a JSON and a sheet of eight
views, 45 degrees up, from where no step looked; what is there already is not computed again.

Two figures a view: whether the guide itself, the bundle's dual encoder, ranks the right one of all captions first (it
was optimized for that, so it says little), and whether the bundle's denoiser does: the caption with which it predicts
noise best (arXiv:2303.16203). The denoiser shares the text encoder and the training pictures with the guide, but none
of its image weights: a second opinion, no independent judge.
"""
