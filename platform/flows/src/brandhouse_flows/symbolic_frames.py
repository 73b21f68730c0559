"""A stand-in for a pandas DataFrame, and for the pandas module, that record columns instead of computing them.

The names of columns are known while tracing, so everything about names is ordinary Python; everything about values
goes to `symbolic_columns`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from brandhouse_flows.element_functions import UFUNCS
from brandhouse_flows.expressions import Kind, NotTraceableError
from brandhouse_flows.symbolic_columns import Refusing, SymbolicColumn, SymbolicTable, operand


def column_of(value: Any) -> SymbolicColumn:
    """A column of its own from a column or a literal."""
    return SymbolicColumn(operand(value))


def _over_columns(name: str) -> Any:
    def method(self: "SymbolicFrame", *args: Any, **kwargs: Any) -> "SymbolicFrame":
        return self.over_columns(lambda column: getattr(column, name)(*args, **kwargs))

    return method


def _binary(name: str) -> Any:
    def method(self: "SymbolicFrame", other: Any) -> "SymbolicFrame":
        if isinstance(other, (SymbolicColumn, SymbolicFrame)):  # pandas aligns by labels here
            raise NotTraceableError(f"DataFrame.{name} with a Series or DataFrame; work column by column")
        return self.over_columns(lambda column: getattr(column, name)(other))

    return method


class SymbolicFrame(SymbolicTable):
    """One row per row to come; named columns of symbols."""

    _subject = "DataFrame"
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, columns: Mapping[Any, SymbolicColumn]) -> None:
        self._columns = dict(columns)

    @property
    def columns(self) -> "pd.Index[Any]":
        """The columns' names, as in pandas."""
        names: pd.Index[Any] = pd.Index(list(self._columns))
        return names

    @columns.setter
    def columns(self, names: Any) -> None:
        names = list(names)
        if len(names) != len(self._columns) or len(set(names)) < len(names):
            raise NotTraceableError("assignment of other or repeated column names")
        self._columns = dict(zip(names, self._columns.values(), strict=True))

    @property
    def index(self) -> "SymbolicIndex":
        """The rows' labels; may only be handed on."""
        return SymbolicIndex()

    @property
    def loc(self) -> "Locator":
        """Columns by name."""
        return Locator(self)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._columns))

    def __getattr__(self, name: str) -> Any:
        if not hasattr(pd.DataFrame, name) and name in self._columns:
            return self[name]
        raise NotTraceableError(f"DataFrame.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("_columns", "columns"):
            raise NotTraceableError(f"assignment to the attribute {name}")
        object.__setattr__(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (list, pd.Index)):
            names = list(key)
            if any(isinstance(name, (bool, SymbolicColumn)) for name in names) or len(set(names)) < len(names):
                raise NotTraceableError("a selection of rows or of repeated columns")
            return SymbolicFrame({name: self[name] for name in names})
        if isinstance(key, (SymbolicColumn, SymbolicFrame, slice)):
            raise NotTraceableError("a selection of rows")
        try:
            return SymbolicColumn(self._columns[key].node)
        except KeyError:
            raise NotTraceableError(f"column {str(key)[:80]!r}, which is no input field") from None

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, (list, pd.Index)):
            values = [value[name] for name in value] if isinstance(value, SymbolicFrame) else [value] * len(key)
            for name, one in zip(key, values, strict=True):
                self[name] = one
            return
        if not isinstance(key, (str, int)):
            raise NotTraceableError("assignment to rows")
        self._columns[key] = column_of(value)

    def __delitem__(self, key: Any) -> None:
        del self._columns[key]

    def over_columns(self, build: Callable[[SymbolicColumn], Any]) -> "SymbolicFrame":
        """A frame of the same names, each column built anew."""
        return SymbolicFrame({name: column_of(build(self[name])) for name in self._columns})

    def copy(self, deep: bool = True) -> "SymbolicFrame":
        """A frame of its own."""
        return SymbolicFrame({name: self[name] for name in self._columns})

    def assign(self, **kwargs: Any) -> "SymbolicFrame":
        """A copy with further columns, each seeing those before it."""
        frame = self.copy()
        for name, value in kwargs.items():
            frame[name] = value(frame) if callable(value) else value
        return frame

    def drop(self, labels: Any = None, *, axis: Any = 0, columns: Any = None, errors: str = "raise") -> "SymbolicFrame":
        """A copy without some columns."""
        if columns is None and axis in (1, "columns"):
            columns = labels
        elif labels is not None or columns is None:
            raise NotTraceableError("drop of rows")
        names = [columns] if isinstance(columns, str) else list(columns)
        if errors == "raise":
            self[names]
        return SymbolicFrame({name: self[name] for name in self._columns if name not in names})

    def rename(self, mapper: Any = None, *, columns: Any = None, axis: Any = 0) -> "SymbolicFrame":
        """A copy with other column names."""
        table = mapper if columns is None and axis in (1, "columns") else columns
        if table is None or (mapper is not None and columns is not None):
            raise NotTraceableError("rename of rows")
        translate = table if callable(table) else lambda name: table.get(name, name)
        names = [translate(name) for name in self._columns]
        if len(set(names)) < len(names):
            raise NotTraceableError("rename that repeats a column name")
        return SymbolicFrame(dict(zip(names, self.copy()._columns.values(), strict=True)))

    def add_prefix(self, prefix: str) -> "SymbolicFrame":
        """A copy with longer names."""
        return self.rename(columns=lambda name: f"{prefix}{name}")

    def add_suffix(self, suffix: str) -> "SymbolicFrame":
        """A copy with longer names."""
        return self.rename(columns=lambda name: f"{name}{suffix}")

    def filter(self, items: Any = None, like: Any = None, regex: Any = None) -> "SymbolicFrame":
        """Some columns, by their names."""
        names = pd.DataFrame(columns=list(self._columns)).filter(items=items, like=like, regex=regex).columns
        return SymbolicFrame({name: self[name] for name in names})

    def join(self, other: Any) -> "SymbolicFrame":
        """The columns of two frames of the same rows."""
        return concat([self, other], axis=1)

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Apply a function to the frame."""
        return function(self, *args, **kwargs)

    def apply(self, func: Any, axis: Any = 0) -> "SymbolicFrame":
        """Apply a function to each column."""
        if axis not in (0, "index") or not callable(func):
            raise NotTraceableError("apply by row")
        return self.over_columns(func)

    def astype(self, dtype: Any) -> "SymbolicFrame":
        """Change types, of all columns or of some."""
        if not isinstance(dtype, dict):
            return self.over_columns(lambda column: column.astype(dtype))
        self[list(dtype)]
        return SymbolicFrame({name: self[name].astype(dtype[name]) if name in dtype else self[name] for name in self._columns})

    def fillna(self, value: Any) -> "SymbolicFrame":
        """Replace missing values, in all columns or in some."""
        table = value if isinstance(value, dict) else dict.fromkeys(self._columns, value)
        return SymbolicFrame({name: _fill(self[name], table[name]) if name in table else self[name] for name in self._columns})

    clip, round, abs, isna, notna, isin = (_over_columns(name) for name in ("clip", "round", "abs", "isna", "notna", "isin"))
    __add__, __radd__, add = _binary("__add__"), _binary("__radd__"), _binary("__add__")
    __sub__, __rsub__, sub = _binary("__sub__"), _binary("__rsub__"), _binary("__sub__")
    __mul__, __rmul__, mul = _binary("__mul__"), _binary("__rmul__"), _binary("__mul__")
    __truediv__, __rtruediv__, div = _binary("__truediv__"), _binary("__rtruediv__"), _binary("__truediv__")
    __pow__, __eq__, __ne__ = _binary("__pow__"), _binary("__eq__"), _binary("__ne__")
    __lt__, __le__, __gt__, __ge__ = _binary("__lt__"), _binary("__le__"), _binary("__gt__"), _binary("__ge__")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> "SymbolicFrame":
        if method != "__call__" or kwargs or len(inputs) != 1 or ufunc.__name__ not in UFUNCS:
            raise NotTraceableError(f"np.{ufunc.__name__} of a DataFrame")
        return self.over_columns(ufunc)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise NotTraceableError(f"np.{function.__name__} of a DataFrame")


class SymbolicIndex(Refusing):
    """The rows' labels, handed from frame to frame."""

    _subject = "DataFrame.index"


class Locator(Refusing):
    """`DataFrame.loc[:, columns]`."""

    _subject = "DataFrame.loc"

    def __init__(self, frame: SymbolicFrame) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        return self._frame[self._column(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._frame[self._column(key)] = value

    def _column(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[0], slice) or key[0] != slice(None):
            raise NotTraceableError("a selection of rows")
        if isinstance(key[1], slice):
            raise NotTraceableError("a range of columns")
        return key[1]


def _fill(column: SymbolicColumn, value: Any) -> SymbolicColumn:
    # A frame-wide fill with a number leaves texts alone: a canonical text is never missing.
    if column.node.kind is Kind.TEXT and not isinstance(value, SymbolicColumn):
        return column
    return column.fillna(value)


def frame_of(data: Any, index: Any = None, columns: Any = None) -> SymbolicFrame:
    """`pd.DataFrame(...)` of symbolic columns."""
    if isinstance(data, SymbolicFrame) and columns is None:
        return data.copy()
    if type(data) is not dict or not (index is None or isinstance(index, SymbolicIndex)) or columns is not None:
        raise NotTraceableError("pd.DataFrame of other than a dictionary of columns")
    return SymbolicFrame({name: column_of(value) for name, value in data.items()})


def concat(objs: Any, axis: Any = 0) -> SymbolicFrame:
    """`pd.concat([...], axis=1)` of frames of the same rows."""
    if axis not in (1, "columns") or not all(isinstance(one, SymbolicFrame) for one in objs):
        raise NotTraceableError("pd.concat of other than DataFrames side by side")
    names = [name for frame in objs for name in frame]
    if len(set(names)) < len(names):
        raise NotTraceableError("pd.concat that repeats a column name")
    return SymbolicFrame({name: frame[name] for frame in objs for name in frame})
