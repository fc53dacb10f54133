"""The expression grammar: what it means, what it refuses and where, and that printing and reading agree."""

from __future__ import annotations

import copy
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.search.expression import (
    MAX_LENGTH,
    MAX_OPERANDS,
    MAX_WEIGHT,
    MIN_WEIGHT,
    Expression,
    Operand,
    QueryError,
    Reference,
    Text,
    parse,
)


def terms(source: str) -> list[tuple[float, str]]:
    return [(one.weight, str(one.value)) for one in parse(source).operands]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a dog runs", [(1, "a dog runs")]),
        ("blue car - blue + red", [(1, "blue car"), (-1, "blue"), (1, "red")]),
        ("car \u2212 blue \u2013 red", [(1, "car"), (-1, "blue"), (-1, "red")]),
        ("- blue + red", [(-1, "blue"), (1, "red")]),
        ("+ red", [(1, "red")]),
        ("- blue", [(-1, "blue")]),
        ("2 * red", [(2, "red")]),
        ("car + 0.5 * red - .25 * blue", [(1, "car"), (0.5, "red"), (-0.25, "blue")]),
        ("2. * red", [(2, "red")]),
        ("a t-shirt", [(1, "a t-shirt")]),
        ("-blue +red", [(1, "-blue +red")]),
        ("2*red", [(1, "2*red")]),
        ("2 dogs", [(1, "2 dogs")]),
        ('"black - white photo"', [(1, '"black - white photo"')]),
        ('"red"', [(1, "red")]),
        ('a "stop" sign', [(1, "a stop sign")]),
        ('a 6" nail', [(1, 'a 6" nail')]),
        (r'"say \"hi\" - now"', [(1, r'"say \"hi\" - now"')]),
        (r'"back\\slash \n"', [(1, r"back\slash \n")]),
        ("“black - white photo” - blue", [(1, '"black - white photo"'), (-1, "blue")]),
        ("„black - white photo“", [(1, '"black - white photo"')]),
        ("„black - white photo”", [(1, '"black - white photo"')]),
        ("”black - white photo”", [(1, '"black - white photo"')]),
        ("« black - white photo »", [(1, '"black - white photo"')]),
        ("»black - white photo«", [(1, '"black - white photo"')]),
        ("“a « b” + «c “ d»", [(1, '"a « b"'), (1, '"c “ d"')]),
        (r"“a 6\" nail \” + red", [(1, 'a 6\\" nail \\'), (1, "red")]),
        ("a 6” nail", [(1, "a 6” nail")]),
        ("the cat’s ‘toy’", [(1, "the cat’s ‘toy’")]),
        ('"“odd” one"', [(1, '"“odd” one"')]),
        ("image:abc_1-2 - blue", [(1, "image:abc_1-2"), (-1, "blue")]),
        ("2 * sentence:xyz", [(2, "sentence:xyz")]),
        ('"image:abc"', [(1, '"image:abc"')]),
        ("  a \t dog\u00a0runs\n", [(1, "a dog runs")]),
        ("images: a dog", [(1, "images: a dog")]),
    ],
)
def test_reads(source: str, expected: list[tuple[float, str]]) -> None:
    assert terms(source) == expected


@pytest.mark.parametrize(
    ("source", "column", "hint"),
    [
        ("", 1, "empty"),
        (" \t ", 1, "empty"),
        ("car -", 5, "Nothing follows"),
        ("car - + red", 7, "follows another operator"),
        ("- - blue", 3, "follows another operator"),
        ("+", 1, "Nothing follows"),
        ('car - "blue', 7, "never closed"),
        ('car - "blue\\"', 7, "never closed"),
        ('"blue"car', 7, "space"),
        ("car - “blue", 7, "never closed"),
        ("car - “blue»", 7, "never closed"),
        ('car - “blue"', 7, "never closed"),
        ("“blue”car", 7, "space"),
        ("car + “ ”", 7, "empty"),
        ('car + ""', 7, "empty"),
        ('car + " "', 7, "empty"),
        ("red * 2", 1, "decimal number"),
        ("car + 0 * red", 7, "between"),
        ("car + 1001 * red", 7, "between"),
        ("1e3 * red", 1, "decimal number"),
        ("nan * red", 1, "decimal number"),
        ("٣ * red", 1, "decimal number"),
        ("car + 2 *", 9, "weight"),
        ("2 * 3 * red", 7, "one number"),
        ("* red", 1, "one number"),
        ("a * b", 1, "decimal number"),
        ("car + image:", 7, "id directly after"),
        ("image:a/b", 1, "id directly after"),
        ("image:" + "a" * 129, 1, "id directly after"),
        ("image:abc red", 1, "alone"),
        ("red image:abc", 5, "alone"),
    ],
)
def test_refuses_with_the_column_and_a_hint(source: str, column: int, hint: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(source)
    assert caught.value.column == column
    assert hint in str(caught.value)
    assert f"(column {column})" in str(caught.value)
    assert caught.value.code == "invalid_query"


def test_errors_survive_copies() -> None:
    error = copy.copy(QueryError("Something is wrong.", 3))
    assert (str(error), error.column) == ("Something is wrong. (column 3)", 3)


def test_limits() -> None:
    assert len(parse(" + ".join(["x"] * MAX_OPERANDS)).operands) == MAX_OPERANDS
    with pytest.raises(QueryError, match="more than 32 terms") as caught:
        parse(" + ".join(["x"] * (MAX_OPERANDS + 1)))
    assert caught.value.column == 4 * MAX_OPERANDS + 1
    parse("x" * MAX_LENGTH)
    with pytest.raises(QueryError, match="longer than 1,000") as caught:
        parse("x" * (MAX_LENGTH + 1))
    assert caught.value.column == MAX_LENGTH + 1


def test_what_escapes_would_make_too_long_is_refused() -> None:
    source = '"-" ' + 'a"' * 498
    assert len(source) == MAX_LENGTH
    with pytest.raises(QueryError, match="longer than"):
        parse(source)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Text("  "),
        lambda: Reference("image", "a b"),
        lambda: Reference("image", ""),
        lambda: Operand(Text("a"), 0.0),
        lambda: Operand(Text("a"), float("nan")),
        lambda: Operand(Text("a"), float("inf")),
        lambda: Operand(Text("a"), MAX_WEIGHT * 1.01),
        lambda: Expression(()),
        lambda: Expression((Operand(Text("a")),) * (MAX_OPERANDS + 1)),
    ],
)
def test_impossible_values_cannot_be_made(make: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()  # type: ignore[operator]


def test_a_sentence_is_one_positive_text() -> None:
    assert parse("a dog runs").sentence == "a dog runs"
    assert parse('"a - b"').sentence == "a - b"
    assert parse("2 * red").sentence == "red"
    assert parse("- red").sentence is None
    assert parse("a + b").sentence is None
    assert parse("image:abc").sentence is None


def test_operands_by_kind() -> None:
    expression = parse("image:a - blue car + sentence:b + image:c + red")
    assert expression.texts == ("blue car", "red")
    assert expression.references("image") == ("a", "c")
    assert expression.references("sentence") == ("b",)


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("  blue   car −  blue + 2.50 * red", "blue car - blue + 2.5 * red"),
        ("+ 1 * red", "red"),
        ("- 0.5 * red", "- 0.5 * red"),
        ('"red"', "red"),
        ("0.001 * a", "0.001 * a"),
        ("1000 * a", "1000 * a"),
    ],
)
def test_prints_in_canonical_form(source: str, printed: str) -> None:
    assert str(parse(source)) == printed


WORDS = st.one_of(
    st.sampled_from(
        ["+", "-", "−", "–", "*", '"', "\\", '\\"', "2", "image:x", "sentence:", "t-shirt", '6"', "“", "”a", "«"]
    ),
    st.text(min_size=1, max_size=8).filter(lambda text: bool(text.split())),
)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(lambda words: Text(" ".join(words)))
REFERENCES = st.builds(
    Reference, st.sampled_from(["image", "sentence"]), st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
)
WEIGHTS = st.floats(MIN_WEIGHT, MAX_WEIGHT).flatmap(lambda weight: st.sampled_from([weight, -weight]))
OPERANDS = st.builds(Operand, st.one_of(TEXTS, REFERENCES), st.one_of(st.sampled_from([1.0, -1.0, 2.0]), WEIGHTS))
EXPRESSIONS = st.lists(OPERANDS, min_size=1, max_size=6).map(lambda items: Expression(tuple(items)))


@given(EXPRESSIONS)
def test_every_printed_expression_reads_back_to_itself(expression: Expression) -> None:
    printed = str(expression)
    if len(printed) <= MAX_LENGTH:
        assert parse(printed) == expression


SOURCES = st.one_of(
    st.text(max_size=200),
    st.lists(WORDS, max_size=30).map(" ".join),
    st.text(alphabet='+-−–*"“”„«»\\ 2.image:sentence', max_size=100),
)


@given(SOURCES)
@example('"\\')
@example("\x00")
@example("\ud800")
def test_any_input_is_read_or_refused_and_what_is_read_is_stable(source: str) -> None:
    try:
        expression = parse(source)
    except QueryError as error:
        column = error.column
    else:
        assert parse(str(expression)) == expression
        column = 1
    assert 1 <= column <= max(len(source), 1)


def test_hostile_inputs_take_no_time() -> None:
    started = time.process_time()
    for source in [
        '"' + '\\"' * 499,
        '"' * 1000,
        "\\" * 1000,
        "+ " * 500,
        '"a" ' * 250,
        " " * 1000,
        "1" * 1000,
        "“a” " * 250,
        "«" * 1000,
    ]:
        try:
            parse(source)
        except QueryError:
            continue
    assert time.process_time() - started < 1
