from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch

from runtime.vector.layers import colour_name, is_white, layers_of
from runtime.vector.paths import random_circles
from runtime.vector.svg import read_svg
from runtime.vector.svg.write import INKSCAPE_NAMESPACE, format_svg, write_svg


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((1.0, 0.0, 0.0), "red"),
        ((0.0, 0.4, 0.0), "dark green"),
        ((0.0, 0.0, 1.0), "blue"),
        ((1.0, 0.6, 0.0), "orange"),
        ((0.4, 0.2, 0.05), "brown"),
        ((1.0, 1.0, 0.0), "yellow"),
        ((0.0, 0.9, 0.9), "cyan"),
        ((0.5, 0.0, 0.9), "purple"),
        ((1.0, 0.75, 0.9), "light pink"),
        ((0.05, 0.05, 0.06), "black"),
        ((0.5, 0.52, 0.5), "grey"),
        ((1.0, 1.0, 1.0), "white"),
        ((0.9, 0.0, 0.1), "red"),  # a hue of 353 degrees
    ],
)
def test_colours_have_their_everyday_names(rgb: tuple[float, float, float], name: str) -> None:
    assert colour_name(torch.tensor(rgb)) == name


def drawing():
    circles = random_circles(4, size=(100, 100), radius=20.0, generator=torch.Generator().manual_seed(0))
    colours = torch.tensor([[[1.0, 0, 0, 1], [0.9, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1]]])
    return replace(circles, colours=colours)


def test_layers_are_runs_of_one_colour_and_leave_the_order(tmp_path) -> None:
    layers = layers_of(drawing())
    assert [(layer.first, layer.count) for layer in layers] == [(0, 2), (2, 1), (3, 1)]
    # Two discs of radius 20 cover 25 of 100 hundredths, each one half of it.
    assert [layer.name for layer in layers] == ["1 red, 25 %", "2 blue, 13 %", "3 red, 13 %"]
    text = format_svg(drawing(), layers=layers)
    root = ElementTree.fromstring(text)
    groups = [child for child in root if child.tag.endswith("}g")]
    labels = [group.attrib[f"{{{INKSCAPE_NAMESPACE}}}label"] for group in groups]
    assert labels == [layer.name for layer in layers]
    assert [len(group) for group in groups] == [2, 1, 1]
    assert {group.attrib[f"{{{INKSCAPE_NAMESPACE}}}groupmode"] for group in groups} == {"layer"}
    write_svg(tmp_path / "layers.svg", drawing(), layers=layers)
    write_svg(tmp_path / "plain.svg", drawing())
    both = [read_svg(tmp_path / name) for name in ("layers.svg", "plain.svg")]
    assert torch.equal(both[0].points, both[1].points) and torch.equal(both[0].colours, both[1].colours)
    assert "<g" not in (tmp_path / "plain.svg").read_text()


def test_small_layers_say_so_and_an_empty_drawing_has_none() -> None:
    tiny = random_circles(1, size=(100, 100), radius=1.0, generator=torch.Generator().manual_seed(0))
    assert layers_of(tiny)[0].name.endswith(", small")
    assert layers_of(tiny.select([])) == []


def test_transparent_paper_is_left_out() -> None:
    assert 'id="background"' in format_svg(drawing())
    assert 'id="background"' not in format_svg(drawing(), transparent=True)
    assert is_white(drawing())
    assert not is_white(replace(drawing(), background=torch.tensor([[1.0, 0.9, 1.0]])))
