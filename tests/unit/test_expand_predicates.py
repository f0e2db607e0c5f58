"""Predicates of audience files: what is allowed, how it is rewritten, what is refused."""

from __future__ import annotations

import string

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import expressions as exp

from kinsight.errors import ConfigError
from kinsight.expand.predicates import NUMBER, TEXT, TRUTH, compile_predicate, kind_of

COLUMNS = {
    "user_id": TEXT,
    "events": NUMBER,
    "average_price": NUMBER,
    "is_hot": TRUTH,
    "attributes": f"map of {TEXT}",
    "consent": f"map of {TRUTH}",
    "type_shares": f"map of {NUMBER}",
}


def sql(text: str) -> str:
    return compile_predicate(text, COLUMNS, "kids: eligible").sql


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("events > 10", "(`events` > 10.0D)"),
        ("EVENTS >= -2.5", "(`events` >= -2.5D)"),
        ("attributes['country'] = 'DE'", "(`attributes`['country'] = 'DE')"),
        ("attributes['age'] < 30", "(TRY_CAST(`attributes`['age'] AS DOUBLE) < 30.0D)"),
        ("consent['email']", "`consent`['email']"),
        ("is_hot IS NOT TRUE", "(NOT (`is_hot` IS TRUE))"),
        ("average_price IS NULL", "(`average_price` IS NULL)"),
        ("user_id NOT IN ('a', 'b')", "(NOT (`user_id` IN ('a', 'b')))"),
        ("type_shares['click'] BETWEEN 0 AND 1", None),
        ("user_id LIKE 'x%' OR is_hot AND events = 1", None),
    ],
)
def test_an_allowed_condition_is_written_anew(text: str, written: str | None) -> None:
    if written is None:
        assert sql(text)
    else:
        assert sql(text) == written


def test_the_columns_read_are_told() -> None:
    predicate = compile_predicate("events > 1 AND attributes['a'] = 'b'", COLUMNS, "kids")
    assert predicate.columns == {"events", "attributes"}


@pytest.mark.parametrize(
    "text",
    [
        "events = 1; DROP TABLE users",
        "events IN (SELECT 1)",
        "EXISTS (SELECT 1)",
        "events > (SELECT max(events) FROM user_features)",
        "events > 1 UNION SELECT 1",
        "SELECT 1",
        "length(user_id) > 3",
        "reflect('java.lang.Runtime', 'getRuntime') IS NULL",
        "user_id RLIKE '.*'",
        "user_id LIKE 'a' ESCAPE '!'",
        "user_id LIKE 'a\\\\'",
        "events <=> 1",
        "events::int = 1",
        "CAST(events AS INT) = 1",
        "events + 1 > 2",
        "CASE WHEN is_hot THEN TRUE END",
        "users.events > 1",
        "attributes.kids = '1'",
        "events = :parameter",
        "events = ?",
        "{{events}} = 1",
        "events = NULL",
        "events = 'ten'",
        "events IN (1, 'a')",
        "events IN ()",
        "events > 1e999",
        "attributes IS NULL",
        "attributes[0] = 'a'",
        "attributes['a', 'b'] = 'c'",
        "events['a'] = 1",
        "events",
        "'a'",
        "NULL",
        "",
        "events >",
        "-- only a comment",
        "is_hot OR (" * 2,
        "x" * 5_000,
        "(" * 900 + "is_hot" + ")" * 900,
        "is_hot" + " OR is_hot" * 2_000,
    ],
)
def test_everything_else_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sql(text)
    assert "BETWEEN" in caught.value.expected
    assert "kids: eligible" in caught.value.problem


def test_an_unknown_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean events"):
        sql("evnts > 3")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("events > (SELECT max(events) FROM users)", "a sub-query (SELECT)"),
        ("events IN (SELECT 1)", "a sub-query (SELECT)"),
        ("EXISTS (TABLE users)", "EXISTS"),
        ("my_udf(events) > 1", "the function my_udf"),
        ("coalesce(events, 0) > 1", "the function coalesce"),
        ("events > rand()", "the function rand"),
        ("rank() OVER (ORDER BY events) < 10", "a window function (OVER)"),
        ("events > 1 LATERAL VIEW explode(attributes) t AS k, v", "LATERAL"),
        ("events > 1 -- and more", "a comment"),
        ("events > 1 /* and more */", "a comment"),
        ("events > 1 /*+ BROADCAST(users) */", "a comment"),
        ("events > 1;", "a semicolon"),
        ("events > 1; DROP TABLE users", "a semicolon"),
        ("CASE WHEN is_hot THEN TRUE END", "CASE"),
        ("(" * 900 + "is_hot" + ")" * 900, "nested too deeply"),
    ],
)
def test_what_is_not_allowed_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sql(text)
    assert named in caught.value.problem
    assert caught.value.found == text[:200]


def test_words_of_sql_inside_quotes_are_plain_text() -> None:
    for text in ("a; b", "-- c", "/* d */", "SELECT", "x OVER y"):
        assert sql(f"attributes['{text}'] = '{text}'") == f"(`attributes`['{text}'] = '{text}')"


@given(st.text(string.printable, max_size=40))
def test_a_literal_stays_one_literal(text: str) -> None:
    literal = exp.Literal.string(text).sql(dialect="spark")
    written = sql(f"user_id = {literal}")
    parsed = sqlglot.parse_one(written, read="spark").find(exp.Literal)
    assert parsed is not None
    assert parsed.this == text


@settings(max_examples=200)
@given(st.text("events'\"`;()[]-=<>/*\\ 19ORANDNULLis_hot%,", max_size=30))
def test_any_text_is_either_rewritten_from_known_parts_or_refused(text: str) -> None:
    try:
        written = sql(text)
    except ConfigError:
        return
    nodes = sqlglot.parse_one(written, read="spark").walk()
    forbidden = (exp.Select, exp.Func, exp.Command, exp.Table)
    allowed_functions = (exp.And, exp.Or, exp.Cast)
    assert not any(isinstance(n, forbidden) and not isinstance(n, allowed_functions) for n in nodes)


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("bigint", NUMBER),
        ("map<string,double>", f"map of {NUMBER}"),
        ("map<string,boolean>", f"map of {TRUTH}"),
        ("array<double>", None),
        ("timestamp", None),
        ("map<string,array<int>>", None),
    ],
)
def test_kinds_of_types(type_name: str, kind: str | None) -> None:
    assert kind_of(type_name) == kind
