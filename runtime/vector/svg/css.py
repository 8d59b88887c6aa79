"""Style sheets: rules, the selectors that choose elements, and declarations.

What is wrong is skipped and the rest applies, as CSS asks for. A sheet is read in one pass. A table holds the rules by
the tag, class or identifier that they end with, so that an element is compared with few of them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runtime.vector.svg.xml import Element

MAX_COMPARISONS = 250_000
"""Most comparisons of a selector with an element in one file."""

# Escapes are not read: a selector that has one fits no pattern, and its rule is left out with a note.
_NAME = r"-?[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff-]*"
_PART = re.compile(
    rf"(?P<tag>{_NAME}|\*)|\.(?P<class>{_NAME})|#(?P<id>[\w\u0080-\U0010ffff-]+)|(?P<pseudo>::?{_NAME})"
    rf"|\[\s*(?P<attribute>{_NAME})\s*(?:(?P<operator>[~|^$*]?=)\s*(?P<value>\"[^\"]*\"|'[^']*'|[\w.#-]+)\s*)?\]"
)
_COMBINATOR = re.compile(r"\s*([>+])\s*|\s+")
_UNMATCHED = ("hover", "active", "focus", "visited", "link", "target", "focus-within", "focus-visible")
"""Pseudo-classes that hold for no element of a picture that nobody touches."""
_SKIPPED = ("charset", "import", "namespace", "font-face", "keyframes", "-webkit-keyframes", "page", "property")

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

    def matches(self, element: Element) -> bool:
        """Return whether an element is all of this."""
        return (
            self.tag in ("*", element.tag)
            # An element has one identifier: a selector that asks for two different ones chooses nothing.
            and (not self.identifiers or self.identifiers == {element.attributes.get("id")})
            and (not self.classes or self.classes <= set(element.attributes.get("class", "").split()))
            and all(_has(element, *test) for test in self.attributes)
            and all(_is(element, pseudo) for pseudo in self.pseudos)
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

    def declarations_of(self, element: Element) -> Declarations:
        """Return the declarations that apply to an element, each name once, the weakest first.

        Raises:
            ValueError: where the file asks for more than `MAX_COMPARISONS`.
        """
        names = (element.tag, element.attributes.get("id"), element.attributes.get("class"))
        if names not in self.memo:
            candidates = self.candidates(element)
            chosen = _merged([rule.declarations for rule in candidates if self.chooses(rule, element)])
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

    def chooses(self, rule: Rule, element: Element) -> bool:
        """Return whether a rule's selector chooses an element."""
        return rule.compounds[-1].matches(element) and self.fits_before(rule, len(rule.compounds) - 2, element)

    def fits_before(self, rule: Rule, index: int, element: Element) -> bool:
        """Return whether the parts of a selector up to an index fit what is around or before an element."""
        while index >= 0:
            compound, combinator = rule.compounds[index], rule.combinators[index]
            if combinator == " ":
                candidates = list(element.ancestors())
            elif combinator == ">":
                candidates = [element.parent] if element.parent else []
            else:
                # Of a first child the slice is [-1:0], which is empty: nothing stands before it.
                candidates = element.parent.children[element.index - 1 : element.index] if element.parent else []
            self.count_comparisons(len(candidates))
            fitting = [candidate for candidate in candidates if compound.matches(candidate)]
            if not fitting:
                return False
            index -= 1
            if len(fitting) > 1 and index >= 0 and rule.combinators[index] != " ":
                # The nearest one may have the wrong parent where one further out has the right one.
                return any(self.fits_before(rule, index, candidate) for candidate in fitting)
            # Before another " ", the nearest is as good as any: it has all ancestors of those further out.
            element = fitting[0]
        return True

    def count_comparisons(self, more: int) -> None:
        """Hold the file to its limit: the work grows with rules times elements."""
        self.comparisons += more
        if self.comparisons > MAX_COMPARISONS:
            raise ValueError("its style sheet, which has too many rules for too many elements")


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
    position, ends = 0, 0
    # CSS skips these marks: old pages wrapped a sheet in them, to hide it from browsers without CSS.
    sheet = sheet.replace("<!--", "").replace("-->", "")
    while position < len(sheet):
        brace = re.compile(r"[{};]").search(sheet, position)
        if brace is None:
            return
        head = sheet[position : brace.start()].strip()
        position = brace.end()
        if brace[0] == "}":
            ends = max(ends - 1, 0)  # the end of an @media that was entered
        elif brace[0] == ";":
            if not head.startswith("@"):
                continue
        elif head.startswith("@"):
            name, _, condition = head[1:].partition(" ")
            if name == "media" and _applies(condition, note):
                ends += 1
                continue
            if name not in ("media", *_SKIPPED):
                note(f"style rule '@{name[:40]}' is left out")
            position = _after_block(sheet, position)
        else:
            end = sheet.find("}", position)
            # The end of a sheet closes what is open; browsers apply such a last rule too.
            end = len(sheet) if end < 0 else end
            yield head, sheet[position:end]
            position = end + 1


def _after_block(sheet: str, position: int) -> int:
    """Return the position behind the block whose opening brace is before `position`."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(sheet, position):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(sheet)


def _applies(condition: str, note: Callable[[str], None]) -> bool:
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
            if not match["pseudo"].startswith("::") and pseudos[-1] not in (*_UNMATCHED, "root", "first-child"):
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


def _is(element: Element, pseudo: str) -> bool:
    """Return whether a pseudo-class holds; pseudo-elements never do."""
    return (pseudo == "root" and element.parent is None) or (pseudo == "first-child" and element.index == 0)
