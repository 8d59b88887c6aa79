"""A process that is forked after engines ran: they are made anew or refused in words, and nothing waits forever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORK = """
import os, sys
import torch
from runtime.engines.bundle import Bundle
from runtime.errors import UserError
from runtime.threads import one_torch_thread

torch.set_num_threads(2)
bundle = Bundle.load(sys.argv[1], threads=3)
images = torch.rand(2, *bundle.latent_shape)
decoder, encoder = bundle.latent_decoder(), bundle.text_encoder()
with one_torch_thread():
    expected, context = decoder(images), encoder(["a cat"])
    if os.fork() == 0:
        same = torch.equal(bundle.latent_decoder()(images), expected)
        same = same and torch.equal(bundle.text_encoder()(["a dog", "a cat"])[1:], context)
        try:
            decoder(images)
        except UserError as error:
            print("again" if same else "other", error)
        sys.stdout.flush()
        os._exit(0)  # as multiprocessing ends; PyTorch's own threads make an orderly end wait, without engines too
status = os.wait()[1]
print("parent", status, torch.equal(decoder(images), expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_makes_its_own_engines_and_refuses_those_of_its_parent() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", FORK, "icons"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    child, parent = done.stdout.splitlines()
    assert child.startswith("again engine 'latent_decoder': it was made before this process was forked")
    assert parent == "parent 0 True"
