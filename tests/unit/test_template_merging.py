"""Three-way merge: what the template changed meets what a brand changed."""

import json
from typing import Any

from brandhouse_authoring.merging import Merge, MergedFile, merge_folders

BASE = b"one\ntwo\nthree\nfour\nfive\nsix\n"


def merged(base: bytes | None, theirs: bytes | None, ours: bytes | None, path: str = "file.txt") -> MergedFile | None:
    def folder(content: bytes | None) -> dict[str, bytes]:
        return {} if content is None else {path: content}

    files = merge_folders(folder(base), folder(theirs), folder(ours)).files
    assert len(files) <= 1
    return files[0] if files else None


def found(*sides: bytes | None, path: str = "file.txt") -> MergedFile:
    file = merged(*sides, path=path)
    assert file is not None, "the template changed, so the file is listed"
    return file


def notebook(**cells: str) -> bytes:
    listed = [{"id": key, "cell_type": "code", "source": source.splitlines(keepends=True), "outputs": []} for key, source in cells.items()]
    return json.dumps({"cells": listed, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def sources(file: MergedFile) -> dict[str, str]:
    assert file.after is not None
    document: dict[str, Any] = json.loads(file.after)
    return {cell["id"]: "".join(cell["source"]) for cell in document["cells"]}


def test_a_change_of_the_template_reaches_a_file_that_the_brand_left_alone() -> None:
    file = found(BASE, BASE.replace(b"two", b"2"), BASE)

    assert (file.change, file.after) == ("changed", BASE.replace(b"two", b"2"))


def test_both_sides_changes_are_kept_where_they_do_not_touch() -> None:
    file = found(BASE, BASE.replace(b"one", b"1"), BASE.replace(b"six", b"6"))

    assert (file.change, file.after) == ("changed", b"1\ntwo\nthree\nfour\nfive\n6\n")


def test_a_conflict_holds_both_sides_named_and_the_base() -> None:
    file = found(BASE, BASE.replace(b"three", b"theirs"), BASE.replace(b"three", b"ours"))

    assert file.change == "conflict"
    assert file.after is not None
    text = file.after.decode()
    assert "<<<<<<< this brand\nours\n||||||| template before\nthree\n=======\ntheirs\n>>>>>>> template now\n" in text
    assert Merge((file,)).conflicts == [file]


def test_what_only_the_brand_changed_is_not_even_listed() -> None:
    assert merged(BASE, BASE, b"all mine") is None
    assert merged(None, None, b"a file of the brand's own") is None


def test_a_brand_that_made_the_same_change_needs_nothing() -> None:
    assert merged(BASE, b"same", b"same") is None


def test_new_and_removed_files_of_the_template() -> None:
    assert (found(None, b"new", None).change, found(None, b"new", None).after) == ("added", b"new")
    assert (found(BASE, None, BASE).change, found(BASE, None, BASE).after) == ("removed", None)


def test_what_a_brand_removed_stays_removed() -> None:
    file = found(BASE, b"changed", None)

    assert (file.change, file.after, file.is_written) == ("kept", None, False)


def test_an_edited_file_that_the_template_drops_stays() -> None:
    file = found(BASE, None, b"edited")

    assert (file.change, file.after, file.is_written) == ("kept", b"edited", False)


def test_a_file_that_both_added_differently_is_a_conflict() -> None:
    assert found(None, b"theirs\n", b"ours\n").change == "conflict"


def test_bytes_that_are_no_text_are_never_mixed() -> None:
    file = found(b"\x89PNG\0a", b"\x89PNG\0b", b"\x89PNG\0c")

    assert (file.change, file.after) == ("kept", b"\x89PNG\0c"), "the brand's file stays whole"
    assert found(b"\0a", b"\0b", b"\0a").after == b"\0b", "one that the brand left alone is replaced"


# -- notebooks ---------------------------------------------------------------------------------------------------------


def test_a_notebook_is_merged_cell_by_cell() -> None:
    base = notebook(a="x = 1\n", b="y = 2", c="z = 3")
    theirs = notebook(a="x = 1\n", new="n = 0", b="y = 20", c="z = 3")
    ours = notebook(a="x = 10\n", b="y = 2", mine="print(x)", c="z = 3")
    file = found(base, theirs, ours, path="notebooks/explore.ipynb")

    assert file.change == "changed"
    assert sources(file) == {"a": "x = 10\n", "new": "n = 0", "b": "y = 20", "mine": "print(x)", "c": "z = 3"}
    assert list(sources(file)) == ["a", "new", "b", "mine", "c"], "a new cell comes after the one it follows in the template"


def test_a_notebook_in_conflict_is_still_a_notebook() -> None:
    file = found(notebook(a="x = 1"), notebook(a="x = 2"), notebook(a="x = 3"), path="n.ipynb")

    assert file.change == "conflict"
    assert "<<<<<<< this brand\nx = 3\n" in sources(file)["a"], "the marks stand in the cell's source"


def test_removed_cells_stay_removed_on_either_side() -> None:
    base = notebook(a="x = 1", b="y = 2", c="z = 3")
    file = found(base, notebook(b="y = 2", c="z = 30"), notebook(a="x = 1", c="z = 3"), path="n.ipynb")

    assert sources(file) == {"c": "z = 30"}, "the template removed a, the brand removed b"


def test_outputs_in_a_brands_copy_are_no_conflict() -> None:
    ours = json.loads(notebook(a="x = 1", b="y = 2"))
    ours["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["hello"]}]
    file = found(notebook(a="x = 1", b="y = 2"), notebook(a="x = 2", b="y = 2"), json.dumps(ours).encode(), path="n.ipynb")

    assert (file.change, sources(file)["a"]) == ("changed", "x = 2")


def test_a_notebook_without_ids_is_merged_as_text() -> None:
    old = json.dumps({"cells": [{"source": "x"}]}, indent=1).encode()
    file = found(old, old.replace(b'"x"', b'"y"'), old + b"\n", path="n.ipynb")

    assert file.change == "changed"
