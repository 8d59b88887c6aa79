"""The `d` attribute of paths as contours of cubic segments, in one pass over the text.

A path with an error is drawn up to the error (SVG 2, section 9.5.4).
"""

import re

import numpy as np

from runtime.vector.svg.geometry.arcs import Point, arc_points, line_points
from runtime.vector.svg.geometry.contours import Contour
from runtime.vector.svg.values import NUMBER

# SVG 2, section 9.3.9: form feeds are space, and a gap between numbers has one comma at most.
_SPACE = re.compile(r"[ \t\r\n\f]*")
_GAP = re.compile(r"[ \t\r\n\f]*,?[ \t\r\n\f]*")
# A flag is one digit, and the next number may follow at once: "a1 1 0 0110 10" has the flags 0 and 1, then 10.
_FLAG = re.compile(r"[01]")
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
"""Numbers that each command takes."""


def parse_path_data(text: str) -> tuple[list[Contour], str]:
    """Return the contours of path data, in user units, and the text from its first error on; "" where there is none."""
    pen = _Pen()
    position = _behind(_SPACE, text, 0)
    command = ""
    while position < len(text):
        letter = text[position]
        # The grammar lets path data begin with a move only (SVG 2, section 9.3.9).
        if letter.upper() not in _COUNTS or (not command and letter not in "Mm"):
            return pen.finished(), text[position:]
        command, position = letter, position + 1
        position = _behind(_SPACE, text, position)
        if command in "Zz":
            pen.close()
            continue
        while True:
            # A repeated command is drawn set by set: an error spoils none of the segments before it (section 9.5.4).
            numbers, after = _arguments(text, position, command.upper())
            if numbers is None:
                return pen.finished(), text[position:] or "its end"
            pen.draw(command, numbers)
            command = {"M": "L", "m": "l"}.get(command, command)  # more pairs after a move are lines
            # A comma promises another number. Without one the position stays before it, where it is an error: "L1 1,Z".
            position = _behind(_SPACE, text, after)
            gap = _behind(_GAP, text, after)
            if not NUMBER.match(text, gap):
                break
            position = gap
    return pen.finished(), ""


def _arguments(text: str, position: int, command: str) -> tuple[list[float] | None, int]:
    """Return the numbers of one command and the position behind them; None where they are incomplete."""
    numbers: list[float] = []
    for index in range(_COUNTS[command]):
        pattern = _FLAG if command == "A" and index in (3, 4) else NUMBER
        match = pattern.match(text, position)
        if match is None:
            return None, position
        # An exponent such as 1e999 makes this infinite; `shape_contours` refuses what is beyond its limit.
        numbers.append(float(match[0]))
        position = match.end()
        if index + 1 < _COUNTS[command]:
            position = _behind(_GAP, text, position)
    return numbers, position


def _behind(gap: re.Pattern[str], text: str, position: int) -> int:
    """Return the position behind a gap, which may be empty."""
    match = gap.match(text, position)
    return match.end() if match else position


class _Pen:
    """Follows the commands and collects contours."""

    def __init__(self) -> None:
        self.contours: list[Contour] = []
        self.points: list[Point] = []
        self.vertices: list[int] = []
        """Indices of the points at which commands end, for markers: an arc has several segments."""
        self.place: Point = (0.0, 0.0)
        self.begin: Point = (0.0, 0.0)
        self.moved = False
        self.smooth = ""
        """Kind of the last curve, "C" or "Q": a smooth command of this kind mirrors its control. "" after any other."""
        self.control: Point = (0.0, 0.0)

    def draw(self, command: str, numbers: list[float]) -> None:
        """Follow one command, with the numbers that it takes once."""
        if command.islower():
            numbers = self.absolute(command, numbers)
        x, y = self.place
        curve = ""
        match command.upper():
            case "M":
                self.end(closed=False)
                self.place = self.begin = (numbers[0], numbers[1])
                self.moved = True
            case "L" | "H" | "V":
                end = {"L": (numbers[0], numbers[-1]), "H": (numbers[0], y), "V": (x, numbers[0])}[command.upper()]
                self.add(line_points(self.place, end))
            case "C" | "S":
                curve = "C"
                first = (numbers[0], numbers[1]) if command in "Cc" else self.mirrored("C")
                self.control = (numbers[-4], numbers[-3])
                self.add([first, self.control, (numbers[-2], numbers[-1])])
            case "Q" | "T":
                curve = "Q"
                self.control = (numbers[0], numbers[1]) if command in "Qq" else self.mirrored("Q")
                self.add(_raised(self.place, self.control, (numbers[-2], numbers[-1])))
            case _:
                end = (numbers[5], numbers[6])
                flags = (numbers[3] == 1, numbers[4] == 1)
                # SVG 2, section 9.5.1: an arc that ends where it begins is left out, for it has no one centre.
                if end != self.place:
                    self.add(arc_points(self.place, (numbers[0], numbers[1]), numbers[2], flags, end))
        self.smooth = curve

    def absolute(self, command: str, numbers: list[float]) -> list[float]:
        """Return the numbers of a relative command as those of an absolute one."""
        x, y = self.place
        match command:
            case "h":
                return [numbers[0] + x]
            case "v":
                return [numbers[0] + y]
            case "a":
                return [*numbers[:5], numbers[5] + x, numbers[6] + y]
            case _:
                return [number + (y if index % 2 else x) for index, number in enumerate(numbers)]

    def mirrored(self, curve: str) -> Point:
        """Return the last control about the current point; the point itself after any other kind of curve."""
        x, y = self.place
        return (2 * x - self.control[0], 2 * y - self.control[1]) if self.smooth == curve else (x, y)

    def add(self, points: list[Point]) -> None:
        """Append a segment or several."""
        # Not at the move: after a `Z`, segments may continue from the start of the contour without another move.
        if not self.points:
            self.points, self.vertices = [self.place], [0]
        self.points += points
        self.vertices.append(len(self.points) - 1)
        self.place = points[-1]
        self.moved = False

    def close(self) -> None:
        """Follow a `Z`: what is drawn next begins where this contour began."""
        if self.moved:  # a contour of one point, which round and square caps show
            self.points, self.vertices = [self.begin] * 4, [0, 3]
        elif self.points:
            if self.place != self.begin:
                self.points += line_points(self.place, self.begin)
            # A `Z` is a segment with an end of its own, even where it has no length.
            self.vertices.append(len(self.points) - 1)
        self.end(closed=True)
        self.place = self.begin
        self.smooth = ""

    def end(self, *, closed: bool) -> None:
        """Finish the contour, if it has a segment."""
        if len(self.points) > 1:
            self.contours.append(Contour(np.array(self.points, dtype=np.float64), closed, tuple(self.vertices)))
        self.points, self.vertices = [], []
        self.moved = False

    def finished(self) -> list[Contour]:
        """Return all contours."""
        self.end(closed=False)
        return self.contours


def _raised(start: Point, control: Point, end: Point) -> list[Point]:
    """Return a quadratic segment as a cubic one, without its start."""
    # Raising the degree is exact, so that quadratic segments need no kind of their own.
    first = (start[0] + (control[0] - start[0]) * 2 / 3, start[1] + (control[1] - start[1]) * 2 / 3)
    second = (end[0] + (control[0] - end[0]) * 2 / 3, end[1] + (control[1] - end[1]) * 2 / 3)
    return [first, second, end]
