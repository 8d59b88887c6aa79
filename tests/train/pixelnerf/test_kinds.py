from train.latent_diffusion.objects import SeenObject
from train.pixelnerf.kinds import kinds_of


def seen(split: str, *captions: str) -> SeenObject:
    return SeenObject(id="x", split=split, category="food", group="x", captions=captions, file="x.webp")


def test_kinds_are_the_nouns_of_trained_captions() -> None:
    objects = [
        seen("train", "a red apple", "an apple on a plate"),
        seen("train", "a palm tree with coconuts", "half"),
        seen("validation", "a desk lamp"),
    ]
    assert kinds_of(objects) == ("apple", "tree")
