"""Style sheets: rules, the selectors that choose elements, and declarations.

What is wrong is skipped and the rest applies, as CSS asks for. A sheet is read in one pass. A table holds the rules by
the tag, class or identifier that they end with, so that an element is compared with few of them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runtime.vector.svg.xml import Element, href_of

MAX_COMPARISONS = 250_000
"""Most comparisons of a selector with an element in one file."""

# Escapes are not read: a selector that has one fits no pattern, and its rule is left out with a note.
_NAME = r"-?[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff-]*"
_PART = re.compile(
    rf"(?P<tag>{_NAME}|\*)|\.(?P<class>{_NAME})|#(?P<id>[\w\u0080-\U0010ffff-]+)|(?P<pseudo>::?{_NAME})"
    rf"|\[\s*(?P<attribute>{_NAME})\s*(?:(?P<operator>[~|^$*]?=)\s*(?P<value>\"[^\"]*\"|'[^']*'|[\w.#-]+)\s*)?\]"
)
_SPACE = re.compile(r"\s*")
_COMBINATOR = re.compile(r"\s*([>+])\s*|\s+")
_UNMATCHED = ("hover", "active", "focus", "visited", "target", "focus-within", "focus-visible")
"""Pseudo-classes that hold for no element of a picture that nobody touches."""
_MATCHED = ("root", "first-child", "link", "any-link")
"""Pseudo-classes that are compared with an element."""
_SKIPPED = ("font-face", "keyframes", "-webkit-keyframes", "page", "property")

Declarations = list[tuple[str, str, bool]]
"""Name, value, and whether it is marked as important."""


@dataclass(frozen=True)
class Compound:
    """What one element must be: its tag ("*" for any), classes, identifiers, attributes, and being the root."""

    tag: str = "*"
    classes: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    attributes: tuple[tuple[str, str, str], ...] = ()
    pseudos: frozenset[str] = frozenset()

    def matches(self, element: Element, top: Element | None = None) -> bool:
        """Return whether an element is all of this, in the tree below `top` or in the file's own."""
        return (
            self.tag in ("*", element.tag)
            # An element has one identifier: a selector that asks for two different ones chooses nothing.
            and (not self.identifiers or self.identifiers == {element.attributes.get("id")})
            and (not self.classes or self.classes <= set(element.attributes.get("class", "").split()))
            and all(_has(element, *test) for test in self.attributes)
            and all(_is(element, pseudo, top) for pseudo in self.pseudos)
        )


@dataclass(frozen=True)
class Rule:
    """Declarations for the elements that a selector chooses."""

    compounds: tuple[Compound, ...]
    """The last one is the element's own, those before are of elements around or before it."""
    combinators: tuple[str, ...]
    """Between them: " ", ">" or "+"."""
    specificity: tuple[int, int, int]
    declarations: Declarations

    @property
    def is_simple(self) -> bool:
        """Whether the selector asks for a tag, classes and identifiers of one element only."""
        return len(self.compounds) == 1 and not self.compounds[0].attributes and not self.compounds[0].pseudos


@dataclass
class StyleSheet:
    """The rules of a file, in a table by what the element's own part of the selector asks for."""

    table: dict[str, list[tuple[int, Rule]]] = field(default_factory=dict)
    memo: dict[tuple, Declarations] = field(default_factory=dict)
    styles: dict[int, dict[str, str]] = field(default_factory=dict)
    """Properties of elements where they stand, by identity."""
    count: int = 0
    comparisons: int = 0

    def add(self, sheet: str, note: Callable[[str], None]) -> None:
        """Add the rules of a `<style>` element.

        Args:
            sheet: its text.
            note: called with each rule that is valid but not read.
        """
        for selectors, body in _blocks(strip_comments(sheet), note):
            declarations = parse_declarations(body)
            try:
                rules = [_rule_of(selector, declarations) for selector in selectors.split(",")]
            except ValueError as error:
                note(str(error))  # one bad selector makes a browser skip the whole rule
                continue
            for rule in rules:
                self.table.setdefault(_key_of(rule.compounds[-1]), []).append((self.count, rule))
                self.count += 1

    def declarations_of(self, element: Element, top: Element | None = None) -> Declarations:
        """Return the declarations that apply to an element, each name once, the weakest first.

        Args:
            element: the element.
            top: what a `<use>` has copied the element with. A copy is a tree of its own (SVG 2, section 5.6.3): no
                selector sees what is around the original.

        Raises:
            ValueError: where the file asks for more than `MAX_COMPARISONS`.
        """
        names = (element.tag, element.attributes.get("id"), element.attributes.get("class"))
        if names not in self.memo:
            candidates = self.candidates(element)
            chosen = _merged([rule.declarations for rule in candidates if self.chooses(rule, element, top)])
            if not all(rule.is_simple for rule in candidates):
                return chosen
            # Simple selectors ask for nothing but these names: the next element with the same ones has the same rules.
            self.memo[names] = chosen
        return self.memo[names]

    def candidates(self, element: Element) -> list[Rule]:
        """Return the rules that may choose an element, the weakest first."""
        keys = ["*", element.tag, "#" + element.attributes.get("id", "")]
        # A class that is named twice must not bring its rules twice, nor count them twice against the limit.
        keys += ["." + name for name in dict.fromkeys(element.attributes.get("class", "").split())]
        rules = [pair for key in keys for pair in self.table.get(key, ())]
        self.count_comparisons(len(rules))
        # CSS Cascade 4, section 6.1: the more specific rule wins, and among equals the later one.
        return [rule for _, rule in sorted(rules, key=lambda pair: (pair[1].specificity, pair[0]))]

    def chooses(self, rule: Rule, element: Element, top: Element | None) -> bool:
        """Return whether a rule's selector chooses an element."""
        return rule.compounds[-1].matches(element, top) and self.fits_before(
            rule, len(rule.compounds) - 2, element, top
        )

    def fits_before(self, rule: Rule, index: int, element: Element, top: Element | None) -> bool:
        """Return whether the parts of a selector up to an index fit what is around or before an element."""
        while index >= 0:
            compound, combinator = rule.compounds[index], rule.combinators[index]
            candidates = _before(element, combinator, top)
            self.count_comparisons(len(candidates))
            fitting = [candidate for candidate in candidates if compound.matches(candidate, top)]
            if not fitting:
                return False
            index -= 1
            if len(fitting) > 1 and index >= 0 and rule.combinators[index] != " ":
                # The nearest one may have the wrong parent where one further out has the right one.
                return any(self.fits_before(rule, index, candidate, top) for candidate in fitting)
            # Before another " ", the nearest is as good as any: it has all ancestors of those further out.
            element = fitting[0]
        return True

    def count_comparisons(self, more: int) -> None:
        """Hold the file to its limit: the work grows with rules times elements."""
        self.comparisons += more
        if self.comparisons > MAX_COMPARISONS:
            raise ValueError("its style sheet, which has too many rules for too many elements")


def _before(element: Element, combinator: str, top: Element | None) -> list[Element]:
    """Return the elements that a combinator leads to from an element, the nearest first."""
    if element is top or element.parent is None:
        return []
    if combinator == ">":
        return [element.parent]
    if combinator == "+":
        # Of a first child the slice is [-1:0], which is empty: nothing stands before it.
        return element.parent.children[element.index - 1 : element.index]
    around = []
    for ancestor in element.ancestors():
        around.append(ancestor)
        if ancestor is top:
            break
    return around


def parse_declarations(text: str) -> Declarations:
    """Return the declarations of `name: value; ...`; what has no colon is skipped."""
    declarations = []
    for declaration in _split(strip_comments(text), ";"):
        name, colon, value = declaration.partition(":")
        if not colon:
            continue
        value, mark, priority = value.rpartition("!")
        # CSS has no other mark: any other "!" is left to the checks of the value.
        important = bool(mark) and priority.strip().lower() == "important"
        declarations.append(
            (name.strip().lower(), (value if important else value + mark + priority).strip(), important)
        )
    return declarations


def _merged(declarations: list[Declarations]) -> Declarations:
    """Return the last declaration of each name, with and without importance."""
    merged: dict[tuple[str, bool], str] = {}
    for name, value, important in (declaration for rule in declarations for declaration in rule):
        merged.pop((name, important), None)  # what is set again takes its new place
        merged[name, important] = value
    return [(name, value, important) for (name, important), value in merged.items()]


def strip_comments(text: str) -> str:
    """Return CSS without comments; one without an end lasts to the end of the text."""
    parts, position = [], 0
    # A search, because a lazy regular expression takes quadratic time for many openings without an end.
    while (start := text.find("/*", position)) >= 0:
        parts.append(text[position:start])
        end = text.find("*/", start + 2)
        if end < 0:
            return "".join(parts)
        position = end + 2
    return "".join([*parts, text[position:]])


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of a text between separators that stand outside of brackets and quotes."""
    # A data URI has semicolons of its own: "url(data:image/png;base64,...)" is one value.
    depth, quote, start = 0, "", 0
    for match in re.finditer(rf"[()\"'\\{separator}]", text):
        character = match[0]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "()":
            # Never below 0: one stray ")" would hide every separator behind it.
            depth = max(depth + (1 if character == "(" else -1), 0)
        elif character == separator and depth == 0:
            yield text[start : match.start()]
            start = match.end()
    yield text[start:]


def _blocks(sheet: str, note: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield selectors and body of every rule that applies to a picture on a screen."""
    begin = position = ends = 0
    # CSS skips these marks: old pages wrapped a sheet in them, to hide it from browsers without CSS.
    sheet = sheet.replace("<!--", "").replace("-->", "")
    while position < len(sheet):
        begin = _SPACE.match(sheet, begin).end()  # pyright: ignore[reportOptionalMemberAccess]
        brace = re.compile(r"[{};]").search(sheet, position)
        if brace is None:
            return
        position = brace.end()
        at_rule = sheet.startswith("@", begin)
        # CSS Syntax 3, section 5.4.2: what stands alone there belongs to the next selector, which it spoils.
        if (brace[0] == "}" and not ends) or (brace[0] == ";" and not at_rule):
            continue
        head, begin = sheet[begin : brace.start()].strip(), position
        if brace[0] == "}":
            ends -= 1  # the end of an @media that was entered
        elif brace[0] == ";":
            if head.startswith("@import"):
                note(f"style rule '{head[:40]}' is left out")
        elif at_rule:
            name, _, condition = head[1:].partition(" ")
            if name == "media" and applies(condition, note):
                ends += 1
                continue
            if name not in ("media", *_SKIPPED):
                note(f"style rule '@{name[:40]}' is left out")
            begin = position = _after_block(sheet, position)
        else:
            inner = re.compile(r"[{}]").search(sheet, position)
            # The end of a sheet closes what is open; browsers apply such a last rule too.
            end = len(sheet) if inner is None else inner.start()
            after = end + 1
            if inner is not None and inner[0] == "{":
                note("style rules inside of a rule are left out")
                end = max(sheet.rfind(";", position, end), position)
                after = _after_block(sheet, position)
            yield head, sheet[position:end]
            begin = position = after


def _after_block(sheet: str, position: int) -> int:
    """Return the position behind the block whose opening brace is before `position`."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(sheet, position):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(sheet)


def applies(condition: str, note: Callable[[str], None]) -> bool:
    """Return whether a media query holds for a light screen."""
    queries = [query.strip().lower() for query in condition.split(",")]
    for query in queries:
        if query in (
            "",
            "all",
            "screen",
            "only screen",
            "(prefers-color-scheme: light)",
            "(prefers-color-scheme:light)",
        ):
            return True
        if query not in ("print", "(prefers-color-scheme: dark)", "(prefers-color-scheme:dark)"):
            note(f"style rule '@media {query[:40]}' is left out")
    return False


def _rule_of(text: str, declarations: Declarations) -> Rule:
    """Return the rule of one selector.

    Raises:
        ValueError: where the selector is invalid or not read.
    """
    text, position = text.strip(), 0
    compounds, combinators = [], []
    while position < len(text):
        compound, after = _compound(text, position)
        if after == position:
            break
        compounds.append(compound)
        position = after
        gap = _COMBINATOR.match(text, position)
        if gap is None:
            break
        combinators.append(gap[1] or " ")
        position = gap.end()
    if position < len(text) or not compounds or len(combinators) != len(compounds) - 1:
        raise ValueError(f"style rule with selector '{text[:40]}' is left out")
    # Selectors 3, section 9: identifiers, then classes, attributes and pseudo-classes, then tags; "*" counts nothing.
    specificity = (
        sum(len(compound.identifiers) for compound in compounds),
        sum(len(compound.classes) + len(compound.attributes) + len(compound.pseudos) for compound in compounds),
        sum(compound.tag != "*" for compound in compounds),
    )
    return Rule(tuple(compounds), tuple(combinators), specificity, declarations)


def _compound(text: str, position: int) -> tuple[Compound, int]:
    """Return the parts of a selector that stand together at a position, and the position behind them."""
    tag, classes, identifiers, attributes, pseudos = "*", [], [], [], []
    start = position
    while match := _PART.match(text, position):
        if match["tag"]:
            if position != start:
                break
            tag = match["tag"]
        elif match["class"]:
            classes.append(match["class"])
        elif match["id"]:
            identifiers.append(match["id"])
        elif match["pseudo"]:
            pseudos.append(match["pseudo"].lstrip(":").lower())
            # A condition that is not read must not be dropped: without it the rule would choose too many elements.
            if not match["pseudo"].startswith("::") and pseudos[-1] not in (*_UNMATCHED, *_MATCHED):
                raise ValueError(f"style rule with selector '{text[:40]}' is left out")
        else:
            attributes.append((match["attribute"], match["operator"] or "", (match["value"] or "").strip("\"'")))
        position = match.end()
    compound = Compound(tag, frozenset(classes), frozenset(identifiers), tuple(attributes), frozenset(pseudos))
    return compound, position


def _key_of(compound: Compound) -> str:
    """Return the key of a rule in the table."""
    # Any of the names would do, as an element must have them all. The least is the same in every run, which the
    # first of a set is not.
    if compound.identifiers:
        return "#" + min(compound.identifiers)
    if compound.classes:
        return "." + min(compound.classes)
    return compound.tag


def _has(element: Element, name: str, operator: str, value: str) -> bool:
    """Return whether an attribute passes a test."""
    actual = element.attributes.get(name)
    if actual is None or not operator:
        return actual is not None
    return {
        "=": actual == value,
        "~=": value in actual.split(),
        "|=": actual == value or actual.startswith(value + "-"),
        # Selectors 3, section 6.3.2: these three choose nothing where the value is empty.
        "^=": bool(value) and actual.startswith(value),
        "$=": bool(value) and actual.endswith(value),
        "*=": bool(value) and value in actual,
    }[operator]


def _is(element: Element, pseudo: str, top: Element | None) -> bool:
    """Return whether a pseudo-class holds; pseudo-elements never do."""
    match pseudo:
        case "root":
            return element.parent is None
        case "first-child":
            return element.index == 0 or element is top
        case "link" | "any-link":
            return element.tag == "a" and bool(href_of(element))
        case _:
            return False
