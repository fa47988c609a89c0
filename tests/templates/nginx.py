"""A reader of Nginx configuration: enough to find a lost brace or semicolon and to ask where a directive stands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"""(?P<blank>\s+) | (?P<comment>\#[^\n]*) | (?P<mark>[{};])
      | (?P<quoted>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*') | (?P<word>(?:\\.|\$\{\w+\}|[^\s{};"'\\])+)""",
    re.VERBOSE,
)


@dataclasses.dataclass(frozen=True)
class Directive:
    """One directive: its words (quotes removed), and for a block what is in it."""

    words: tuple[str, ...]
    block: tuple[Directive, ...] | None = None

    @property
    def name(self) -> str:
        return self.words[0]

    def all(self, name: str) -> Iterator[Directive]:
        """Every directive of that name in this block, at any depth."""
        for inner in self.block or ():
            if inner.name == name:
                yield inner
            yield from inner.all(name)

    def own(self, name: str) -> list[Directive]:
        """The directives of that name that stand directly in this block."""
        return [inner for inner in self.block or () if inner.name == name]


def tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Words, quoted strings and marks, each with whether it begins a line; raises ValueError where the text is none."""
    position = 0
    first = True
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"line {line}: cannot read {text[position : position + 30]!r}")
        position = found.end()
        if found.lastgroup not in {"blank", "comment"}:
            yield found.group(), first
        first = found.lastgroup in {"blank", "comment"} and (first or "\n" in found.group())


def parse(text: str) -> Directive:
    """The whole file as one block; raises ValueError for a lost brace, quote or semicolon."""
    stack: list[list[Directive]] = [[]]
    opened: list[tuple[str, ...]] = []
    words: list[str] = []
    for token, first in tokens(text):
        if token == "{":
            if not words:
                raise ValueError("a block without a name")
            opened.append(tuple(words))
            stack.append([])
            words = []
        elif token == ";":
            if not words:
                raise ValueError("an empty directive")
            stack[-1].append(Directive(tuple(words)))
            words = []
        elif token == "}":
            if words:
                raise ValueError(f"a semicolon is missing after: {' '.join(words)}")
            if not opened:
                raise ValueError("one brace too many")
            block = tuple(stack.pop())
            stack[-1].append(Directive(opened.pop(), block))
        else:
            # A directive may go on in the next line, but there with a value and not with what looks like a directive.
            if words and first and re.fullmatch(r"[a-z_]+", token):
                raise ValueError(f"a semicolon is missing after: {' '.join(words)}")
            words.append(token[1:-1] if token[0] in "\"'" else token)
    if words or opened:
        raise ValueError(f"the file ends inside of: {' '.join(words or opened[-1])}")
    return Directive(("file",), tuple(stack[0]))
