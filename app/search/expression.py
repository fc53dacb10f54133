"""The expression grammar of a search: `blue car - blue + red`.

    expression = [sign] operand { sign operand }
    sign       = "+" | "-" | U+2212 | U+2013              standing between spaces
    operand    = [ number "*" ] value                     the "*" stands between spaces, too
    value      = "image:" ID | "sentence:" ID | text
    text       = { word | phrase }                        joined by single spaces
    phrase     = '"' anything, with \\" for a quote and \\\\ for a backslash '"'
               | “ ”, „ “, ” ”, « » or » « around anything but such quotes

So *t-shirt* has no operator in it, and `"black - white photo"` is one text. A first sign is allowed, because
`- blue + red` may be added to an uploaded image. `str(expression)` is canonical: it parses back to the same
expression. Reading takes time linear in the length of the source.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MAX_LENGTH = 1_000
"""Most characters of an expression, as given and as printed."""

MAX_OPERANDS = 32
"""Most operands of an expression."""

MIN_WEIGHT = 0.001
MAX_WEIGHT = 1_000.0
"""The range of the absolute weight of an operand. Within it Python prints floats without an exponent."""

_SIGNS = {"+": 1.0, "-": -1.0, "\N{MINUS SIGN}": -1.0, "\N{EN DASH}": -1.0}
_TIMES = "*"
_REFERENCE = re.compile(r"(image|sentence):(.*)", re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
# Telephones and word processors write these by themselves. Which of them closes a phrase depends on the language.
_TYPOGRAPHIC = (
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}",
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}",
)
_PHRASES = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL),
    **{quote: re.compile(f"{quote}([^{family}]*+)[{family}]") for family in _TYPOGRAPHIC for quote in family},
}
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r'\\(["\\])')


class QueryError(ValueError):
    """An expression that cannot be read. `column` is 1-based and points at the character to look at."""

    code = "invalid_query"

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (column {column})")
        self.column = column

    def __reduce__(self) -> tuple[object, ...]:
        message = str(self).removesuffix(f" (column {self.column})")
        return type(self), (message, self.column)


@dataclass(frozen=True)
class Text:
    """A value of words. White space is normalised to single spaces; ValueError if the result is empty."""

    text: str

    def __post_init__(self) -> None:
        normalised = " ".join(self.text.split())
        if not normalised:
            raise ValueError("a text needs at least one word")
        object.__setattr__(self, "text", normalised)

    def __str__(self) -> str:
        if not any(_needs_quotes(word) for word in self.text.split(" ")):
            return self.text
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'


@dataclass(frozen=True)
class Reference:
    """A value that names a stored image or sentence by its id; ValueError for what cannot be an id."""

    kind: Literal["image", "sentence"]
    id: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("an id consists of at most 128 letters, digits, - and _")

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


Value = Text | Reference


@dataclass(frozen=True)
class Operand:
    """A text or a reference with its signed weight; ValueError for a weight of zero or out of range.

    `column` is where its source begins, 1-based, for errors that are found later.
    """

    value: Value
    weight: float = 1.0
    column: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and MIN_WEIGHT <= abs(self.weight) <= MAX_WEIGHT):
            raise ValueError(f"a weight lies between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}, apart from its sign")
        object.__setattr__(self, "weight", float(self.weight))

    @property
    def unsigned(self) -> str:
        """The canonical form without the sign: `2 * red`, or `red` when the weight is one."""
        magnitude = abs(self.weight)
        if magnitude == 1.0:
            return str(self.value)
        number = repr(magnitude).removesuffix(".0")
        return f"{number} {_TIMES} {self.value}"


@dataclass(frozen=True)
class Expression:
    """A weighted sum of one to `MAX_OPERANDS` operands; ValueError for none or more."""

    operands: tuple[Operand, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.operands) <= MAX_OPERANDS:
            raise ValueError(f"an expression has 1 to {MAX_OPERANDS} terms")

    @property
    def sentence(self) -> str | None:
        """The text of an expression which is one plain text and no arithmetic, else None."""
        only = self.operands[0]
        if len(self.operands) == 1 and isinstance(only.value, Text) and only.weight > 0:
            return only.value.text
        return None

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text among the operands, in order."""
        return tuple(one.value.text for one in self.operands if isinstance(one.value, Text))

    def references(self, kind: Literal["image", "sentence"]) -> tuple[str, ...]:
        """The ids of every named image or sentence, in order."""
        values = (one.value for one in self.operands)
        return tuple(value.id for value in values if isinstance(value, Reference) and value.kind == kind)

    def __str__(self) -> str:
        first, *rest = self.operands
        parts = [first.unsigned if first.weight > 0 else f"- {first.unsigned}"]
        parts += [f"{'+' if one.weight > 0 else '-'} {one.unsigned}" for one in rest]
        return " ".join(parts)


class _Token(NamedTuple):
    kind: Literal["sign", "times", "word", "phrase"]
    text: str
    column: int


def parse(source: str) -> Expression:
    """Read an expression. QueryError says what is wrong, where, and what to write instead."""
    if len(source) > MAX_LENGTH:
        raise QueryError(f"The query is longer than {MAX_LENGTH:,} characters. Shorten it.", MAX_LENGTH + 1)
    tokens = _tokens(source)
    if not tokens:
        raise QueryError("The query is empty. Write a sentence, or an expression such as: car - blue + red", 1)
    sign = 1.0
    if tokens[0].kind == "sign":
        sign = _SIGNS[tokens[0].text]
    operands: list[Operand] = []
    position = 1 if tokens[0].kind == "sign" else 0
    while True:
        end = position
        while end < len(tokens) and tokens[end].kind != "sign":
            end += 1
        if end == position:
            raise _missing_operand(tokens, position)
        if len(operands) == MAX_OPERANDS:
            raise QueryError(f"The query has more than {MAX_OPERANDS} terms. Leave some out.", tokens[position].column)
        operands.append(_operand(sign, tokens[position:end]))
        if end == len(tokens):
            break
        sign = _SIGNS[tokens[end].text]
        position = end + 1
    expression = Expression(tuple(operands))
    if len(str(expression)) > MAX_LENGTH:  # escapes may lengthen it, and what we print must be readable
        raise QueryError(f"The query is longer than {MAX_LENGTH:,} characters. Shorten it.", MAX_LENGTH + 1)
    return expression


def _tokens(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = _skip_space(source, 0)
    while position < len(source):
        column = position + 1
        quote = source[position]
        if quote in _PHRASES:
            phrase = _PHRASES[quote].match(source, position)
            if phrase is None:
                raise QueryError('The quote that opens here is never closed. Add a ", or remove this one.', column)
            text = _ESCAPE.sub(r"\1", phrase[1]) if quote == '"' else phrase[1]
            tokens.append(_Token("phrase", text, column))
            position = phrase.end()
            if position < len(source) and not source[position].isspace():
                raise QueryError(
                    'A space has to follow a closing quote. A quote inside a phrase is written \\".',
                    position + 1,
                )
        else:
            word = _WORD.match(source, position)
            assert word is not None  # noqa: S101  # white space was skipped, so one character at least matches
            text = word[0]
            if text in _SIGNS:
                tokens.append(_Token("sign", text, column))
            elif text == _TIMES:
                tokens.append(_Token("times", text, column))
            else:
                tokens.append(_Token("word", text, column))
            position = word.end()
        position = _skip_space(source, position)
    return tokens


def _skip_space(source: str, position: int) -> int:
    space = _SPACE.match(source, position)
    return space.end() if space else position


def _operand(sign: float, tokens: list[_Token]) -> Operand:
    weight = 1.0
    if len(tokens) >= 2 and tokens[1].kind == "times":
        weight = _weight(tokens[0])
        if len(tokens) == 2:
            raise QueryError("Nothing follows the weight. Write for example: 2 * red", tokens[1].column)
        tokens = tokens[2:]
    for token in tokens:
        if token.kind == "times":
            raise QueryError(
                'A weight is one number before the *, as in: 2 * red. Put a * meant literally in "quotes".',
                token.column,
            )
    return Operand(_value(tokens), sign * weight, tokens[0].column)


def _weight(token: _Token) -> float:
    if token.kind != "word" or not _NUMBER.fullmatch(token.text):
        raise QueryError("The weight before a * has to be a decimal number, as in: 1.5 * red", token.column)
    weight = float(token.text)
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise QueryError(f"A weight lies between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}.", token.column)
    return weight


def _value(tokens: list[_Token]) -> Value:
    for token in tokens:
        reference = _REFERENCE.fullmatch(token.text) if token.kind == "word" else None
        if reference is None:
            continue
        kind, identifier = reference[1], reference[2]
        if not _ID.fullmatch(identifier):
            raise QueryError(
                f'Write the id directly after {kind}: as in {kind}:abc123, or put a text in "quotes".',
                token.column,
            )
        if len(tokens) > 1:
            raise QueryError(
                f'{kind}:ID stands alone between operators. Write + or - around it, or put it in "quotes".',
                token.column,
            )
        return Reference("image" if kind == "image" else "sentence", identifier)
    text = " ".join(token.text for token in tokens)
    if not text.strip():
        raise QueryError("The quotes are empty. Write at least one word between them.", tokens[0].column)
    return Text(text)


def _missing_operand(tokens: list[_Token], position: int) -> QueryError:
    if position < len(tokens):
        return QueryError(
            f'"{tokens[position].text}" follows another operator. Write a word or image:ID between them, '
            'or put a sign which you mean literally in "quotes".',
            tokens[position].column,
        )
    last = tokens[-1]
    return QueryError(f'Nothing follows "{last.text}". Write a word or image:ID after it, or remove it.', last.column)


def _needs_quotes(word: str) -> bool:
    return word in _SIGNS or word == _TIMES or word[0] in _PHRASES or _REFERENCE.fullmatch(word) is not None
