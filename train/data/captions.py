"""Many ways to say what an icon shows: its name, its keywords, its colour, in templates and with a style.

A caption is drawn, not listed: `write_caption` returns one of the many that fit a picture.
"""

import random
from collections import Counter
from collections.abc import Mapping

STYLES = {
    "fluent-emoji-flat": "minimal flat vector icon",
    "noto": "soft shaded icon",
    "twemoji": "simple flat icon",
    "emojione": "cartoon icon",
    "fxemoji": "plain clip art",
}
"""What a prompt may end on to ask for the look of an icon set, after a comma."""

HOUSE = "noto"
"""The icon set whose look prompts of the bundle ask for by default: it has the most concepts, and clear outlines."""

_PORTIONS = ("slice", "piece", "cup", "mug", "bowl", "glass", "bottle", "bunch")
"""Keywords that say how much of a thing is shown: "slice of pizza"."""

_TEMPLATES = ("{}", "{}", "a {}", "a {}", "an icon of a {}", "a picture of a {}", "{} icon", "a drawing of {}")


def common_keywords(concepts: Mapping[str, dict], most: int = 12) -> dict[str, list[str]]:
    """Return the keywords of each concept that say something of it: words that at most `most` concepts share.

    Args:
        concepts: the captioned concepts by key, each with name and keywords.
        most: the greatest number of concepts of one keyword, at least 1.
    """
    cleaned = {
        key: [
            w for k in entry["keywords"] if (w := k.replace("_", " ").strip().lower()) and w.replace(" ", "").isalpha()
        ]
        for key, entry in concepts.items()
    }
    counts = Counter(word for words in cleaned.values() for word in set(words))
    return {
        key: [
            w for w in dict.fromkeys(words) if counts[w] <= most and w != concepts[key]["name"].lower() and len(w) > 2
        ]
        for key, words in cleaned.items()
    }


def _article(text: str) -> str:
    words = text.split(" ")
    for i, word in enumerate(words[:-1]):
        if word == "a" and words[i + 1][:1].lower() in "aeiou":
            words[i] = "an"
    return " ".join(words)


def write_caption(
    name: str, colour: str, keywords: list[str], style: str, rng: random.Random, *, repainted: bool = False
) -> str:
    """Return one caption of a picture.

    Args:
        name: what the picture shows.
        colour: its colour's name, or "".
        keywords: other words for it.
        style: what a caption may end on, or "".
        rng: source of the draws.
        repainted: the colour is not the thing's own, so the caption always names it: "a cat" is to mean no green one.
    """
    subject = name
    draw = rng.random()
    head = name.rsplit(" ", maxsplit=1)[-1]
    if keywords and draw < 0.10:
        subject = rng.choice(keywords)
    elif keywords and draw < 0.22:
        subject = f"{name}, {rng.choice(keywords)}"
    elif keywords and draw < 0.27:
        subject = f"{rng.choice(keywords)} {name}"
    elif draw < 0.47 and (portions := [w for w in keywords if w in _PORTIONS and w not in name]):
        subject = f"{rng.choice(portions)} of {name}"
    elif " " in name and " and " not in name and draw < 0.35 and head.isalpha() and head != "face":
        subject = head
    coloured = bool(colour) and colour not in subject.lower().split()
    if coloured and (repainted or rng.random() < 0.6):
        subject = f"{colour} {subject}"
    text = rng.choice(_TEMPLATES).format(subject) if " and " not in subject else subject
    text = _article(text)
    return f"{text}, {style}" if style and rng.random() < 0.5 else text
