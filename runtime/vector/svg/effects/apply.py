"""What an element's effects make of the shapes that it has drawn: filter, clip path, mask, opacity, blend mode."""

from collections.abc import Callable
from dataclasses import replace
from operator import is_

import numpy as np

from runtime.vector.svg.context import Context, Viewport, Walker, style_at
from runtime.vector.svg.effects.blending import MODES, blended
from runtime.vector.svg.effects.clipping import clipped, corners_of, cropped
from runtime.vector.svg.effects.filters import Frame, filtered
from runtime.vector.svg.effects.groups import faded, faded_each
from runtime.vector.svg.effects.masks import Levels, levels_of, masked
from runtime.vector.svg.geometry.contours import Paint
from runtime.vector.svg.geometry.skia import Area, area_of
from runtime.vector.svg.style import Style, split_paint
from runtime.vector.svg.transforms import Box, translation
from runtime.vector.svg.values import parse_opacity
from runtime.vector.svg.xml import Element, href_of

MAX_NESTED = 16
"""Deepest nesting of clip paths and masks that have clip paths and masks of their own."""

_CALL = 50
"""Pairs of segments in the time of which a clip path or mask is set up."""
_GENERATORS = ("feFlood", "feImage", "feTurbulence", "feDiffuseLighting", "feSpecularLighting", "feComponentTransfer")
"""What a filter paints with where there is nothing to change."""


def isolates(style: Style) -> bool:
    """Return whether a group is composited on its own before it meets what is below (Compositing 1, section 3.3)."""
    effects = ("clip-path", "mask", "filter")
    return (
        any(style[name] != "none" for name in effects)
        or style["mix-blend-mode"] != "normal"
        or style["isolation"] == "isolate"
        or parse_opacity(style["opacity"]) < 1
    )


class Effects:
    """Changes the shapes that a reader has collected."""

    def __init__(self, walker: Walker) -> None:
        self.walker = walker
        self.open: list[Element] = []
        """Clip paths and masks that are being drawn, to find one that refers to itself."""
        self.masks: dict[tuple, Levels | str] = {}
        """Levels of masks, or what is wrong with them, by mask and place."""
        self.apart: list[Paint] = []
        """Shapes without overlap that the opacity of the last group has left."""

    def apply(
        self,
        element: Element,
        context: Context,
        before: tuple[int, int],
        viewport: Viewport | None,
        opacity: float,
    ) -> None:
        """Change what an element has drawn, and name effects that are not read.

        Args:
            element: the element.
            context: what its children are drawn in.
            before: how many shapes and unread things there were before it.
            viewport: the `<use>` that gives its size, if it has a viewport.
            opacity: its own.
        """
        walker, style = self.walker, context.style
        if walker.outlining == "bounds":
            return
        # An effect on nothing changes nothing, and is no reason to refuse a file.
        if len(walker.shapes) == before[0] and len(walker.unread) == before[1]:
            self.name_generator(element, style["filter"])
            return
        start = before[0]
        if walker.outlining:
            self.clip(element, context, start, viewport)
            return
        if style["filter"] != "none":
            self.filter(element, context, start, viewport)
        self.clip(element, context, start, viewport)
        if style["mask"] != "none":
            self.mask(element, context, start, viewport)
        if opacity < 1:
            self.fade(element, start, opacity)
        if style["mix-blend-mode"] != "normal":
            self.blend(element, context, start)

    def change(self, element: Element, start: int, words: str, change: Callable[[list], list]) -> None:
        """Replace the shapes from an index on by what a function makes of them, or name what is not read."""
        shapes = self.walker.shapes
        try:
            shapes[start:] = change(shapes[start:])
        except ValueError as error:
            self.walker.leave_unread(element, f"{words}, {error}")

    def name_generator(self, element: Element, text: str) -> None:
        """Name a filter that draws where its element has drawn nothing."""
        target = self.walker.by_id.get(split_paint(text)[0] or "none")
        if target is not None and any(child.tag in _GENERATORS for child in target.children):
            self.walker.leave_unread(element, f"filter '{text[:40]}'")

    def filter(self, element: Element, context: Context, start: int, viewport: Viewport | None) -> None:
        """Filter what an element has drawn."""
        text = context.style["filter"]
        target = self.walker.by_id.get(split_paint(text)[0] or "none")
        if target is None or target.tag != "filter" or split_paint(text)[1] or href_of(target):
            self.walker.leave_unread(element, f"filter '{text[:40]}'")
            return
        frame = Frame(
            matrix=context.matrix,
            box=self.walker.bounds(element, context, viewport),
            view=context.view,
            style=style_at(target, self.walker.sheet),
            sheet=self.walker.sheet,
            note=lambda words: self.walker.note(element, words),
        )
        self.change(
            element,
            start,
            f"filter '{text[:40]}'",
            lambda shapes: filtered(shapes, target, frame, self.walker.combiner),
        )

    def clip(self, element: Element, context: Context, start: int, viewport: Viewport | None) -> None:
        """Cut what an element has drawn by its clip path."""
        text = context.style["clip-path"]
        if text == "none":
            return
        clip = self.walker.by_id.get(split_paint(text)[0] or "none")
        if clip is None and text.startswith("url("):
            self.walker.note(element, f"clip path '{text[:40]}' does not exist and is left out")
        elif clip is None or clip.tag != "clipPath":
            self.walker.leave_unread(element, f"clip path '{text[:40]}'")
        else:
            self.change(
                element,
                start,
                f"clip path '{text[:40]}'",
                lambda shapes: clipped(shapes, self.clip_area(element, clip, context, viewport), self.walker.combiner),
            )

    def enter(self, element: Element, kind: str) -> None:
        """Remember that a clip path or mask is being drawn.

        Raises:
            ValueError: where it is already.
        """
        if element in self.open or len(self.open) >= MAX_NESTED:
            raise ValueError(f"a {kind} that refers to itself")
        # Those that refer to others are drawn anew for each reference, which multiplies.
        self.walker.combiner.spend(_CALL)
        self.open.append(element)

    def clip_area(self, element: Element, clip: Element, context: Context, viewport: Viewport | None) -> Area | None:
        """Return what a clip path lets through, in pixels; None where that is nothing.

        Raises:
            ValueError: where it refers to itself, or its parts cannot be combined.
        """
        walker = self.walker
        self.enter(clip, "clip path")
        try:
            style = style_at(clip, walker.sheet)
            matrix = walker.at(clip, lambda: walker.matrix_of(clip, replace(context, style=style), None))
            if clip.attributes.get("clipPathUnits") == "objectBoundingBox":
                box = walker.bounds(element, context, viewport)
                matrix = matrix @ translation(*box[:2]) @ np.diag([*box[2:], 1.0])
            inner = context.referenced(style, matrix)
            drawn = walker.collected(lambda: self.draw_clip(clip, inner), "clip")
            area = walker.combiner.unite([area_of(shape) for shape in drawn]) if drawn else None
            outer = walker.by_id.get(split_paint(style["clip-path"])[0] or "none")
            if style["clip-path"] != "none" and (outer is None or outer.tag != "clipPath"):
                raise ValueError("a clip path of another kind")
            if outer is None or area is None or style["clip-path"] == "none":
                return area
            more = self.clip_area(element, outer, context, viewport)
            return None if more is None else walker.combiner.intersect(area, more)
        finally:
            self.open.pop()

    def draw_clip(self, clip: Element, context: Context) -> None:
        """Draw what a clip path may hold: shapes, and uses of shapes."""
        for child in clip.children:
            target = self.walker.by_id.get(href_of(child)[1:] or "none") if child.tag == "use" else child
            if target is not None and target.tag in ("g", "svg", "symbol", "switch", "a", "use"):
                # SVG 1.1, section 14.3.5: groups may not stand in a clip path. Browsers pass over them.
                self.walker.note(child, f"<{target.tag}> in a clip path is left out")
                continue
            self.walker.draw(child, context)

    def mask(self, element: Element, context: Context, start: int, viewport: Viewport | None) -> None:
        """Hide what an element has drawn as far as its mask says."""
        text = context.style["mask"]
        target = self.walker.by_id.get(split_paint(text)[0] or "none")
        if target is None and text.startswith("url("):
            self.walker.note(element, f"mask '{text[:40]}' does not exist and is left out")
            return
        if target is None or target.tag != "mask" or split_paint(text)[1]:
            self.walker.leave_unread(element, f"mask '{text[:40]}'")
            return
        box = self.walker.bounds(element, context, viewport)
        self.change(
            element,
            start,
            f"mask '{text[:40]}'",
            lambda shapes: masked(shapes, self.levels(target, context, box), self.walker.combiner),
        )

    def levels(self, mask: Element, context: Context, box: Box) -> Levels:
        """Return the levels of a `<mask>`; they are computed once for a place and box.

        Raises:
            ValueError: where it refers to itself, or cannot be cut.
        """
        # Masks of masks refer to one another many times: without this, their number multiplies at every depth.
        key = (id(mask), context.matrix.tobytes(), context.view, box)
        if key not in self.masks:
            try:
                self.masks[key] = self.drawn_levels(mask, context, box)
            except ValueError as error:
                self.masks[key] = str(error)
        levels = self.masks[key]
        if isinstance(levels, str):
            raise ValueError(levels)
        return levels

    def drawn_levels(self, mask: Element, context: Context, box: Box) -> Levels:
        """Return the levels of a `<mask>`, drawn anew; as `levels`."""
        walker, left, top, width, height = self.walker, *box
        self.enter(mask, "mask")
        try:
            style = style_at(mask, walker.sheet)
            matrix = context.matrix
            if mask.attributes.get("maskContentUnits") == "objectBoundingBox":
                matrix = matrix @ translation(left, top) @ np.diag([width, height, 1.0])
            inner = context.referenced(style, matrix)
            drawn = walker.collected(lambda: [walker.draw(child, inner) for child in mask.children])
            frame = Frame(context.matrix, box, context.view, style, walker.sheet, lambda _: None)
            default = (left - 0.1 * width, top - 0.1 * height, 1.2 * width, 1.2 * height)
            units = mask.attributes.get("maskUnits", "objectBoundingBox")
            region = walker.at(mask, lambda: frame.region_of(mask, units, default))
            drawn = cropped(drawn, corners_of(region, context.matrix)) if min(region[2:]) > 0 else []
            outer = walker.by_id.get(split_paint(style["mask"])[0] or "none")
            if style["mask"] != "none":
                if outer is None or outer.tag != "mask":
                    raise ValueError("a mask of another kind")
                drawn = masked(drawn, self.levels(outer, context, box), walker.combiner)
            return levels_of(
                drawn,
                walker.combiner,
                luminance=style["mask-type"] != "alpha",
                linear=style["color-interpolation"].lower() == "linearrgb",
            )
        finally:
            self.open.pop()

    def fade(self, element: Element, start: int, opacity: float) -> None:
        """Give the shapes from an index on the opacity of a group."""
        shapes = self.walker.shapes[start:]
        # Of a group that holds a group alone, nothing overlaps any more: to cut parts along the edges that they share
        # would take long, and make slivers.
        same = len(shapes) == len(self.apart) and all(map(is_, shapes, self.apart))
        try:
            self.apart = faded_each(shapes, opacity) if same else faded(shapes, opacity, self.walker.combiner)
            self.walker.shapes[start:] = self.apart
        except ValueError:
            self.walker.note(element, "the opacity of several shapes together is read as that of each")
            self.walker.shapes[start:] = faded_each(shapes, opacity)

    def blend(self, element: Element, context: Context, start: int) -> None:
        """Blend what an element has drawn with what is below it in its group."""
        mode = context.style["mix-blend-mode"]
        if mode not in MODES:
            self.walker.leave_unread(element, f"blend mode '{mode[:40]}'")
            return
        backdrop = self.walker.shapes[context.backdrop : start]
        self.change(
            element,
            start,
            f"blend mode '{mode}'",
            lambda shapes: blended(shapes, backdrop, mode, self.walker.combiner),
        )
