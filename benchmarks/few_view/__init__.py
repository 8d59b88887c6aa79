"""How good is a field of few pictures? PSNR and SSIM on held-out ones, for each regularizer, over draws of views.

    python -m benchmarks.few_view --capture lego.npz --half 1.3 [--views 8] [--draws 5] [--only NAME] [--json]
    python -m benchmarks.few_view --objects data/objects [--count 20]       # 8 of the 16 views of each object
    python -m benchmarks.few_view --capture lego.npz --half 1.3 --networks --budget 1200 --rays 128

Draw 0 of 8 out of 100 pictures is DietNeRF's. Held-out are all other pictures of the capture: on pictures that a paper
trains on, no figure is comparable to the paper's. Seconds are the processor's, of the fit alone. The thesis' networks
end after a budget of such seconds, and the row says after how many of their 200,000 steps.
"""
