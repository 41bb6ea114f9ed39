# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath queries on results, such as ``-e vllm_status_query='replicas[].nodes[?ok==`false`].host'``. On the controller."""

from __future__ import annotations

try:
    import jmespath
    from jmespath.exceptions import IncompleteExpressionError, JMESPathError
except ImportError:
    jmespath = None

GUIDE = "https://jmespath.org/tutorial.html"


class QueryError(Exception):
    """The query cannot be answered; the text names it and says what to do."""


def query(data, expression):
    """What a JMESPath expression selects of *data*; None where it selects nothing.

    :param data: mappings, lists, strings, numbers, true, false and None.
    :param expression: text; an empty one selects all.
    :raises QueryError: the expression is wrong, or the Python library jmespath is missing on this machine.
    """
    if not expression.strip():
        return data
    if jmespath is None:
        raise QueryError(
            f"the query {expression!r} needs the Python library jmespath where ansible-playbook runs: 'pip install "
            "jmespath'. Without it leave the query out, and use the file that the playbook can write."
        )
    try:
        return jmespath.search(expression, data)
    except JMESPathError as error:
        raise QueryError(_explain(expression, error)) from error


def query_error(expression):
    """What is wrong with a JMESPath expression, before there is anything to ask; an empty string where it can be read."""
    if jmespath is None or not expression.strip():
        return ""  # query() says what is missing
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        return _explain(expression, error)
    return ""


def _explain(expression, error):
    """What is wrong with an expression, and where."""
    position = getattr(error, "lex_position", None)
    lines = str(error).strip().splitlines()
    if position is None:  # a function: unknown, or with the wrong arguments
        what = lines[0] if lines else type(error).__name__
        return f"the query {expression!r} fails: {what}. See {GUIDE}."
    position = min(position, len(expression))
    what = "Incomplete expression" if isinstance(error, IncompleteExpressionError) else None
    what = what or getattr(error, "message", None) or lines[0]
    hint = ""
    if "'" not in expression and "`" not in expression and '"' in expression:
        hint = " A text stands in single quotes, true, false and numbers in backticks: [?ok==`false`]."
    return (
        f"the query is wrong at position {position + 1}: {what}. Correct it, or see {GUIDE}.{hint}\n"
        f"  {expression}\n  {' ' * position}^"
    )
