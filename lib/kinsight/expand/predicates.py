"""Conditions that an audience file may state: parsed, checked, and written anew as SQL.

Nothing of the text itself reaches Spark. It is parsed to a tree; only the nodes below are known;
and the SQL is written from the tree, with every name looked up and every literal quoted.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlglot
from sqlglot import Token, TokenType
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from kinsight.errors import ConfigError
from kinsight.tables import quote

GRAMMAR = (
    "AND, OR, NOT, parentheses, = != < <= > >=, IN (values), BETWEEN, LIKE 'pattern', IS NULL, "
    "over columns, attributes['name'] and plain values"
)
LONGEST = 4_000

NUMBER, TEXT, TRUTH = "number", "text", "truth value"
_MAPS = {f"map of {kind}": kind for kind in (NUMBER, TEXT, TRUTH)}
_OPERATORS: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_FORBIDDEN = {
    TokenType.SELECT: "a sub-query (SELECT)",
    TokenType.EXISTS: "EXISTS",
    TokenType.UNION: "UNION",
    TokenType.OVER: "a window function (OVER)",
    TokenType.LATERAL: "LATERAL",
    TokenType.SEMICOLON: "a semicolon",
}
_KINDS = {
    "double": NUMBER,
    "float": NUMBER,
    "int": NUMBER,
    "bigint": NUMBER,
    "string": TEXT,
    "boolean": TRUTH,
}


def kind_of(type_name: str) -> str | None:
    """The kind of a Spark type such as ``bigint`` or ``map<string,double>``; None if unusable."""
    if type_name.startswith("map<string,"):
        value = _KINDS.get(type_name.removeprefix("map<string,").removesuffix(">"))
        return None if value is None else f"map of {value}"
    return _KINDS.get(type_name)


@dataclasses.dataclass(frozen=True)
class Predicate:
    """A checked condition.

    Attributes:
        sql: Spark SQL, made from the parsed tree.
        columns: Columns that it reads.
    """

    sql: str
    columns: frozenset[str]


@dataclasses.dataclass(frozen=True)
class _Value:
    """A checked operand: its SQL, its kind, and whether it is a literal."""

    sql: str
    kind: str
    literal: bool = False


def compile_predicate(text: str, columns: Mapping[str, str], where: str) -> Predicate:
    """Parse and check a condition, and write it anew.

    Args:
        text: What the person wrote.
        columns: Column name to kind, see :func:`kind_of`.
        where: Where it stands, for the message, such as ``kids: eligible``.

    Raises:
        ConfigError: Naming what is not allowed, and the grammar that is.
    """
    compiler = _Compiler(columns, text, where)
    try:
        sql = compiler.condition(compiler.parse())
    except RecursionError:
        raise compiler.refused("it is nested too deeply") from None
    return Predicate(sql, frozenset(compiler.used))


class _Compiler:
    def __init__(self, columns: Mapping[str, str], text: str, where: str) -> None:
        self.columns = columns
        self.text = text
        self.where = where
        self.used: set[str] = set()

    def refused(
        self, reason: str, to_do: str = "state the condition in these terms"
    ) -> ConfigError:
        return ConfigError(
            f"The predicate of {self.where} is not allowed: {reason}.",
            expected=GRAMMAR,
            found=self.text[:200],
            to_do=to_do,
        )

    def parse(self) -> exp.Expression:
        if len(self.text) > LONGEST:
            raise self.refused(
                f"it is longer than {LONGEST} characters", "put the ids in a file instead"
            )
        try:
            self.check_tokens(sqlglot.tokenize(self.text, read="spark"))
            statements = sqlglot.parse(self.text, read="spark")
        except SqlglotError as error:
            raise self.refused(f"it cannot be parsed ({str(error).splitlines()[0]})") from None
        if len(statements) != 1 or not isinstance(statements[0], exp.Expression):
            raise self.refused(f"one condition is expected, not {len(statements)}")
        return statements[0]

    def check_tokens(self, tokens: Iterable[Token]) -> None:
        """Refuse by name what the parser would drop without a word, or not understand."""
        for token in tokens:
            if token.comments or token.token_type == TokenType.HINT:
                raise self.refused("it holds a comment", "take the comment out")
            if token.token_type in _FORBIDDEN:
                raise self.refused(f"{_FORBIDDEN[token.token_type]} is not part of the grammar")

    def condition(self, node: exp.Expression) -> str:
        """SQL of a node that is true, false or unknown of a user."""
        if isinstance(node, exp.And | exp.Or):
            parts = _arguments(self, node, "this", "expression")
            word = "AND" if isinstance(node, exp.And) else "OR"
            return f"({self.condition(parts[0])} {word} {self.condition(parts[1])})"
        if isinstance(node, exp.Not):
            return f"(NOT {self.condition(*_arguments(self, node, 'this'))})"
        if isinstance(node, exp.Paren):
            return self.condition(*_arguments(self, node, "this"))
        if type(node) in _OPERATORS:
            left, right = (self.value(n) for n in _arguments(self, node, "this", "expression"))
            left, right = self.comparable(left, right)
            return f"({left.sql} {_OPERATORS[type(node)]} {right.sql})"
        if isinstance(node, exp.In):
            return self.membership(node)
        if isinstance(node, exp.Between):
            value, low, high = (
                self.value(n) for n in _arguments(self, node, "this", "low", "high")
            )
            value_low, low = self.comparable(value, low)
            value_high, high = self.comparable(value, high)
            return f"({value_low.sql} >= {low.sql} AND {value_high.sql} <= {high.sql})"
        if isinstance(node, exp.Like):
            return self.likeness(node)
        if isinstance(node, exp.Is):
            return self.test(node)
        value = self.value(node)
        if value.kind != TRUTH:
            raise self.refused(f"{node.sql(dialect='spark')} is a {value.kind}, not a condition")
        return value.sql

    def membership(self, node: exp.In) -> str:
        value = self.value(*_arguments(self, node, "this", others={"expressions"}))
        listed = [self.value(n) for n in node.expressions]
        if not listed or not all(v.literal for v in listed):
            raise self.refused("IN takes a list of plain values")
        pairs = [self.comparable(value, v) for v in listed]
        return f"({pairs[0][0].sql} IN ({', '.join(right.sql for _, right in pairs)}))"

    def likeness(self, node: exp.Like) -> str:
        value, pattern = (self.value(n) for n in _arguments(self, node, "this", "expression"))
        if value.kind != TEXT or pattern.kind != TEXT or not pattern.literal:
            raise self.refused("LIKE compares a text with a pattern in quotes")
        if "\\" in pattern.sql:
            raise self.refused("a pattern of LIKE may hold no backslash")
        return f"({value.sql} LIKE {pattern.sql})"

    def test(self, node: exp.Is) -> str:
        tested, against = _arguments(self, node, "this", "expression")
        value = self.value(tested)
        if isinstance(against, exp.Null):
            return f"({value.sql} IS NULL)"
        if isinstance(against, exp.Boolean) and value.kind == TRUTH:
            return f"({value.sql} IS {'TRUE' if against.this else 'FALSE'})"
        raise self.refused("IS takes NULL, or TRUE and FALSE of a truth value")

    def value(self, node: exp.Expression) -> _Value:
        """SQL and kind of an operand."""
        if isinstance(node, exp.Paren):
            return self.value(*_arguments(self, node, "this"))
        if isinstance(node, exp.Boolean):
            return _Value("TRUE" if node.this else "FALSE", TRUTH, literal=True)
        if isinstance(node, exp.Neg):
            inner = self.value(*_arguments(self, node, "this"))
            if inner.kind != NUMBER or not inner.literal:
                raise self.refused("only a plain number can be negative")
            return _Value(f"-{inner.sql}", NUMBER, literal=True)
        if isinstance(node, exp.Literal):
            return self.literal(node)
        if isinstance(node, exp.Column):
            value = self.column(node)
            if value.kind in _MAPS:
                raise self.refused(
                    f"{node.name} holds one value a name", f"write {node.name}['name']"
                )
            return value
        if isinstance(node, exp.Bracket):
            return self.entry(node)
        raise self.refused(f"{_name(node)} is not part of the grammar")

    def literal(self, node: exp.Literal) -> _Value:
        if node.is_string:
            return _Value(quote(str(node.this)), TEXT, literal=True)
        try:
            number = float(node.this)
        except ValueError:
            raise self.refused(f"{node.this} is not a number") from None
        if not math.isfinite(number):
            raise self.refused(f"{node.this} is too large")
        return _Value(f"{number!r}D", NUMBER, literal=True)

    def column(self, node: exp.Expression) -> _Value:
        (identifier,) = _arguments(self, node, "this")
        if not isinstance(node, exp.Column) or not isinstance(identifier, exp.Identifier):
            raise self.refused("a column is named alone, without its table")
        name = node.name.lower()
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, 1, cutoff=0.5)
            known = f"did you mean {near[0]}?" if near else f"use one of {', '.join(self.columns)}"
            raise self.refused(f"there is no column {node.name}", known)
        self.used.add(name)
        return _Value(f"`{name}`", self.columns[name])

    def entry(self, node: exp.Bracket) -> _Value:
        (holder,) = _arguments(self, node, "this", others={"expressions"})
        keys = node.expressions
        if len(keys) != 1 or not isinstance(keys[0], exp.Literal) or not keys[0].is_string:
            raise self.refused("brackets hold one name in quotes, as in attributes['country']")
        mapping = self.column(holder)
        if mapping.kind not in _MAPS:
            raise self.refused(f"{mapping.sql} has no entries")
        return _Value(f"{mapping.sql}[{quote(str(keys[0].this))}]", _MAPS[mapping.kind])

    def comparable(self, left: _Value, right: _Value) -> tuple[_Value, _Value]:
        """Both of one kind; attributes are text, so beside a number they are read as one."""
        if left.kind == right.kind:
            return left, right
        pair = [left, right]
        if {left.kind, right.kind} == {NUMBER, TEXT}:
            place = 0 if left.kind == TEXT else 1
            if not pair[place].literal:
                pair[place] = _Value(f"TRY_CAST({pair[place].sql} AS DOUBLE)", NUMBER)
                return pair[0], pair[1]
        raise self.refused(f"{left.sql} is a {left.kind} and {right.sql} a {right.kind}")


def _name(node: exp.Expression) -> str:
    """What a person calls a node that is not allowed."""
    if isinstance(node, exp.Func) and not isinstance(node, exp.Connector | exp.Case | exp.Cast):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        return f"the function {name.lower()}"
    return type(node).__name__.upper()


def _arguments(
    compiler: _Compiler,
    node: exp.Expression,
    *names: str,
    others: frozenset[str] | set[str] = frozenset(),
) -> list[Any]:
    """The named parts of a node, refusing any part beside them."""
    given = {name for name, part in node.args.items() if part}
    beside = given - set(names) - set(others)
    parts = [node.args.get(name) for name in names]
    if beside or not all(isinstance(part, exp.Expression) for part in parts):
        raise compiler.refused(
            f"this form of {type(node).__name__.upper()} is not part of the grammar"
        )
    return parts
