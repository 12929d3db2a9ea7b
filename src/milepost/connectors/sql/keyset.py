"""Where a page begins: what comes after a row in an order of columns."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, tuple_

from milepost.connectors.sql.dialect import Column, Dialect, Mark


def after(dialect: Dialect, order: Sequence[Column], marks: Sequence[Mark]) -> ColumnElement[bool]:
    """Select the rows after the one with these marks.

    A comparison of row values is the shortest, and an index answers it where the database can.
    But with a null in it, it is neither true nor false, and the rows would be gone.
    """
    if dialect.row_values and len(order) > 1 and not any(column.nullable for column in order):
        bound = [column.bind(mark) for column, mark in zip(order, marks, strict=True)]
        return tuple_(*(column.order for column in order)) > tuple_(*bound)
    return _after(dialect, list(zip(order, marks, strict=True)))


def _after(dialect: Dialect, pairs: list[tuple[Column, Mark]]) -> ColumnElement[bool]:
    (column, mark), *others = pairs
    greater = _greater(dialect, column, mark)
    if not others:
        return greater
    return or_(greater, and_(_same(column, mark), _after(dialect, others)))


def _greater(dialect: Dialect, column: Column, mark: Mark) -> ColumnElement[bool]:
    order: ColumnElement[Any] = column.order
    if mark is None:
        return false() if dialect.nulls_last else order.is_not(None)
    greater = order > column.bind(mark)
    return or_(greater, order.is_(None)) if dialect.nulls_last and column.nullable else greater


def _same(column: Column, mark: Mark) -> ColumnElement[bool]:
    return column.order.is_(None) if mark is None else column.order == column.bind(mark)
