"""Every code block of the documents is run as a reader would run it, or says why it is not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import documents

SLOW = "<!-- slow page -->"


def page_parameters() -> list[object]:
    parameters = []
    for page in documents.pages():
        text = page.read_text(encoding="utf-8")
        if any(documents.is_executable(block) for block in documents.read_blocks(text)):
            marks = [pytest.mark.slow] if SLOW in text else []
            parameters.append(pytest.param(page, id=str(page.relative_to(documents.ROOT)), marks=marks))
    return parameters


@pytest.mark.parametrize("page", documents.pages(), ids=lambda page: str(page.relative_to(documents.ROOT)))
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    assert documents.problems_of(page.read_text(encoding="utf-8")) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", page_parameters())
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    with documents.PageRun(tmp_path) as run:
        for block in documents.read_blocks(page.read_text(encoding="utf-8")):
            if documents.is_executable(block):
                run.run(block)


PAGE = """
```bash
export COLOUR=red
cd docs
```
```bash
echo "$COLOUR $(basename "$PWD")"
```
<!-- output -->
```text
red ...
```
"""


def test_a_setup_after_another_comment_is_run() -> None:
    page = "<!-- slow page -->\n\nText.\n\n<!-- setup\ntouch a\n-->\n```bash\nls a\n```\n"
    assert [block.code for block in documents.read_blocks(page)] == ["touch a\n", "ls a\n"]


def run_page(text: str, folder: Path) -> None:
    with documents.PageRun(folder) as run:
        for block in documents.read_blocks(text):
            run.run(block)


def test_blocks_of_a_page_share_folder_and_environment(tmp_path: Path) -> None:
    run_page(PAGE, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PAGE.replace("red ...", "blue ..."), "the page says\nblue"),
        ("```bash\nfalse\n```\n", "exit status 1, expected 0"),
        ("<!-- run: exits 3 -->\n```bash\nexit 2\n```\n", "exit status 2, expected 3"),
        ('<!-- run: until "ready" -->\n```bash\necho no\n```\n', "it ended and should go on"),
        ("```python\nraise SystemExit(4)\n```\n", "exit status 4, expected 0"),
    ],
)
def test_a_page_that_says_something_else_fails(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        run_page(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```yaml\na: 1\n```\n", "line 1: nobody knows what to do with a yaml block"),
        ("\n<!-- not run: -->\n```bash\nls\n```\n", "says that it is not run and not why"),
        ("```toml\na = \n```\n", "is no valid toml"),
        ("- item\n\n  ```json\n  {]\n  ```\n", "is no valid json"),
    ],
)
def test_a_block_that_cannot_be_run_or_read_is_a_problem(text: str, said: str) -> None:
    [problem] = documents.problems_of(text)
    assert said in problem
