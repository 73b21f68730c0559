"""The notebooks of brands as files: do they keep to the rules, and how outputs are taken out again.

Nothing is executed here and no engine is needed; `notebook_runs` executes. Rules are about what would hurt others: outputs
(rows of customers in Git, conflicts in every merge), another brand's code or folder, a path that only one machine has.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brandhouse_flows.content import write_whole
from brandhouse_shared.brands import brand_folders

ALLOWED_MODULES = ("brandhouse_authoring.notebook", "brandhouse_shared")
KERNEL = "python3"
KEPT_CELL_METADATA = {"tags", "jupyter", "slideshow", "name"}
KEPT_METADATA = {"kernelspec", "language_info"}
LANGUAGE = {"name": "python"}
_MACHINE_PATH = re.compile(
    r"(?<![\w.:/~-])(/(home|Users|root|mnt|media|data|tmp|var|opt|work|srv|Volumes|content|workspaces?)/\S|~[\w-]*/|[A-Za-z]:[\\/]|file://)"
)
_BRAND_FOLDER = re.compile(r"\bbrands[/\\]+([a-z][a-z0-9_]*)")
_BESIDE = re.compile(r"\.\.[/\\]+([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class NotebookProblem:
    """One thing to mend in a notebook.

    Attributes:
        brand: The folder's name.
        file: Path below the brand's folder.
        cell: Number of the cell, from 1; None for the notebook as a whole.
        rule: Id of the broken rule.
        what: What is wrong.
        fix: What to do.
    """

    brand: str
    file: str
    cell: int | None
    rule: str
    what: str
    fix: str

    def as_document(self) -> dict[str, Any]:
        """The problem as plain values."""
        return asdict(self)


def find_notebooks(brand_folder: Path) -> list[Path]:
    """All notebooks of a brand; editors' own copies are none."""
    found = sorted((brand_folder / "notebooks").rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def check_notebooks(brand_folder: Path) -> list[NotebookProblem]:
    """Return every problem of a brand's notebooks, without executing them."""
    others = {folder.name for folder in brand_folders(brand_folder.parent)} - {brand_folder.name}
    return [problem for path in find_notebooks(brand_folder) for problem in _NotebookCheck(brand_folder, path, others).problems()]


def clean_notebooks(brand_folder: Path) -> list[Path]:
    """Take outputs, counts and an editor's remarks out of a brand's notebooks; return those that changed.

    One that is no JSON is left as it is; the check tells of it.
    """
    return [path for path in find_notebooks(brand_folder) if _clean(path)]


def _clean(path: Path) -> bool:
    before = path.read_text(encoding="utf-8")
    try:
        after = clean_text(before)
    except ValueError:
        return False
    if after != before:
        write_whole(path, after)
    return after != before


def clean_text(text: str) -> str:
    """Return a notebook without outputs, counts and editors' remarks.

    Raises:
        ValueError: If the text is no notebook.
    """
    notebook = _parse(text)
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            cell |= {"outputs": [], "execution_count": None}
        cell["metadata"] = {name: value for name, value in cell.get("metadata", {}).items() if name in KEPT_CELL_METADATA}
    notebook["metadata"] = {name: value for name, value in notebook.get("metadata", {}).items() if name in KEPT_METADATA}
    if "language_info" in notebook["metadata"]:
        notebook["metadata"]["language_info"] = LANGUAGE  # editors write the interpreter's exact version there
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _parse(text: str) -> dict[str, Any]:
    notebook = json.loads(text)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("no list of cells")  # noqa: TRY004 - the file's content is wrong, as with broken JSON
    return notebook


class _NotebookCheck:
    """One notebook under the rules."""

    def __init__(self, brand_folder: Path, path: Path, others: set[str]) -> None:
        self._brand = brand_folder.name
        self._path = path
        self._file = path.relative_to(brand_folder).as_posix()
        self._others = others

    def problems(self) -> list[NotebookProblem]:
        """Every problem, in the order of the cells."""
        try:
            notebook = _parse(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return [self._problem(None, "notebook-valid", f"is no notebook: {str(error)[:120]}", "restore it from Git")]
        found = [*self._whole(notebook)]
        for number, cell in enumerate(notebook["cells"], 1):
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                found += [*self._leftovers(number, cell), *self._code(number, "".join(cell.get("source", "")))]
        return found

    def _problem(self, cell: int | None, rule: str, what: str, fix: str) -> NotebookProblem:
        return NotebookProblem(self._brand, self._file, cell, rule, what, fix)

    def _whole(self, notebook: dict[str, Any]) -> Iterator[NotebookProblem]:
        import nbformat

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a missing cell id is a warning there, and an error to the next reader
                nbformat.validate(notebook)
        except (nbformat.ValidationError, Warning) as error:
            what = f"does not keep to the notebook format: {str(error).splitlines()[0][:160]}"
            yield self._problem(None, "notebook-valid", what, "open it in Jupyter or VS Code and save it again")
        kernel = notebook.get("metadata", {}).get("kernelspec", {}).get("name")
        if kernel != KERNEL:
            yield self._problem(
                None,
                "notebook-kernel",
                f"names the kernel {kernel!r}; allowed: {KERNEL!r}",
                "set metadata.kernelspec.name; others have no such kernel",
            )
        if "widgets" in notebook.get("metadata", {}):
            yield self._problem(None, "notebook-outputs", "keeps the state of widgets", self._clean_command)

    @property
    def _clean_command(self) -> str:
        return f"brandhouse notebook clean {self._brand}"

    def _leftovers(self, number: int, cell: dict[str, Any]) -> Iterator[NotebookProblem]:
        if cell.get("outputs"):
            yield self._problem(number, "notebook-outputs", "has outputs, which may show rows of customers", self._clean_command)
        elif cell.get("execution_count") is not None:
            yield self._problem(number, "notebook-outputs", "has an execution count, which changes with every run", self._clean_command)

    def _code(self, number: int, source: str) -> Iterator[NotebookProblem]:
        try:
            tree = ast.parse(_as_python(source))
        except SyntaxError as error:
            yield self._problem(number, "notebook-syntax", f"line {error.lineno}: {error.msg}", "correct it; the notebook must run")
            return
        for module in _imported(tree):
            yield from self._import(number, module)
        for text in _texts(tree):
            yield from self._text(number, text)

    def _import(self, number: int, module: str) -> Iterator[NotebookProblem]:
        package = module.split(".")[0]
        if package.startswith("brand_") and package != f"brand_{self._brand}":
            what = f"imports {module}; a notebook sees its own brand only"
            yield self._problem(number, "notebook-own-brand", what, "ask that brand for what it may share, or move it to brandhouse_shared")
        elif package.startswith("brandhouse_") and not any(module == one or module.startswith(f"{one}.") for one in ALLOWED_MODULES):
            what = f"imports {module}, whose names may change any day; allowed: {', '.join(ALLOWED_MODULES)}"
            yield self._problem(number, "notebook-imports", what, "from brandhouse_authoring.notebook import open_model")

    def _text(self, number: int, text: str) -> Iterator[NotebookProblem]:
        if _MACHINE_PATH.search(text):
            what, fix = "names a path of one machine", "name it from the notebook's folder, or use model.table for the dataset"
            yield self._problem(number, "notebook-paths", what, fix)
        named = {*_BRAND_FOLDER.findall(text), *_BESIDE.findall(text)} & self._others
        if named:
            what = f"names the folder of {min(named)}; a notebook sees its own brand only"
            yield self._problem(number, "notebook-own-brand", what, "remove it: every brand's data stay in its own folder")


def _as_python(source: str) -> str:
    """Turn a cell's magics and shell lines into the calls that they are."""
    from IPython.core.inputtransformer2 import TransformerManager

    manager: Any = TransformerManager  # has no types
    python: str = manager().transform_cell(source)
    return python


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _is_dynamic_import(node.func) and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def _is_dynamic_import(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}


def _texts(tree: ast.AST) -> Sequence[str]:
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
