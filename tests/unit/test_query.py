"""JMESPath queries on results, and errors that say what is wrong with one, where, and what to do."""

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import query as common_query
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.query import QueryError, query

REPORT = {
    "ok": False,
    "replicas": [
        {"name": "r1", "nodes": [{"host": "n1", "ok": True}, {"host": "n2", "ok": False}]},
        {"name": "r2", "nodes": [{"host": "n3", "ok": False}]},
    ],
}


@pytest.mark.parametrize(
    "expression, found",
    [
        ("replicas[].nodes[?ok==`false`].host", [["n2"], ["n3"]]),
        ("replicas[].nodes[] | [?ok==`false`].host", ["n2", "n3"]),
        ("replicas[?name=='r2'].nodes[0].host | [0]", "n3"),
        ("ok", False),
        ("length(replicas)", 2),
        ("nothing.here", None),
        ("", REPORT),
        ("  ", REPORT),
    ],
)
def test_a_query(expression, found):
    assert query(REPORT, expression) == found


@pytest.mark.parametrize(
    "expression, position, what",
    [
        ("replicas[", 10, "Incomplete expression"),
        ("replicas[?ok=`false`]", 13, "Unknown token '='"),
        ("a b", 3, "Unexpected token: b"),
        ("'open", 1, "Unclosed ' delimiter"),
        ("replicas[].`", 12, "Unclosed ` delimiter"),
    ],
)
def test_a_wrong_query_is_named_with_its_place(expression, position, what):
    with pytest.raises(QueryError) as caught:
        query(REPORT, expression)
    said = str(caught.value).splitlines()
    assert said[0].startswith(f"the query is wrong at position {position}: {what}") and common_query.GUIDE in said[0]
    assert said[1:] == ["  " + expression, "  " + " " * (position - 1) + "^"]


@pytest.mark.parametrize(
    "expression, what",
    [("foo(@)", "Unknown function: foo()"), ("length(ok)", "In function length(), invalid type for value: False")],
)
def test_a_function_that_cannot_be_used_is_named(expression, what):
    with pytest.raises(QueryError) as caught:
        query(REPORT, expression)
    assert str(caught.value).startswith(f"the query {expression!r} fails: {what}")


def test_texts_in_double_quotes_have_a_hint():
    with pytest.raises(QueryError, match="A text stands in single quotes, true, false and numbers in backticks"):
        query(REPORT, 'replicas[?name="r1"]')


def test_without_jmespath(monkeypatch):
    monkeypatch.setattr(common_query, "jmespath", None)
    assert query(REPORT, "") == REPORT
    with pytest.raises(QueryError, match="the query 'ok' needs the Python library jmespath .* 'pip install jmespath'"):
        query(REPORT, "ok")
