"""Upgrades of a brand's folder: planned in memory, written as a whole, undone as a whole."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from brandhouse_authoring.answers import ANSWERS_FILE, Answers, read_answers
from brandhouse_authoring.rendering import render
from brandhouse_authoring.rings import Ring, order_brands, upgrade_ring
from brandhouse_authoring.template import TEMPLATE_FOLDER, TemplateError, keep_template, read_template
from brandhouse_authoring.upgrading import UpgradeError, adopt, plan_upgrade, undo_upgrade, write_upgrade
from brandhouse_shared.errors import UnknownBrandError

VALUES = {"brand": "casa", "model": "price"}
CODE = "# {{ brand }}\nNUMBERS = []\n\n\ndef build():\n    return 1\n\n\ndef last():\n    return 2\n"


class House:
    """A workspace whose template is invented, too, in a Git repository."""

    def __init__(self, workspace: Any) -> None:
        self.workspace, self.settings, self.root = workspace, workspace.settings, workspace.root
        self.template = self.root / TEMPLATE_FOLDER
        self.folder = self.root / "brands" / "casa"
        subprocess.run(["git", "init", "--quiet", str(self.root)], check=True)
        self.write({"notes.py.jinja": CODE, "docs/page.md": "one\ntwo\nthree\n", "old.txt": "old\n"})

    def write(self, files: dict[str, str | None]) -> None:
        """Change the template; None removes a file."""
        for path, text in files.items():
            file = self.template / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                file.unlink()
            else:
                file.write_text(text)

    def render_brand(self, name: str = "casa") -> None:
        """Add the template's files to a brand of the workspace, as `brandhouse new` would have."""
        template = read_template(self.root)
        keep_template(self.root, template)
        values = VALUES | {"brand": name}
        folder = self.root / "brands" / name
        files = render(template, values) | {ANSWERS_FILE: Answers(template.digest, values).as_text().encode()}
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    def content(self) -> dict[str, bytes]:
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def house(workspace: Any) -> House:
    made = House(workspace)
    made.render_brand()
    return made


def test_nothing_to_do_at_todays_template(house: House) -> None:
    planned = plan_upgrade(house.settings, "casa")

    assert planned.is_current and planned.diff() == ""


def test_the_templates_change_meets_the_brands_edit(house: House) -> None:
    (house.folder / "notes.py").write_text(CODE.replace("{{ brand }}", "casa").replace("return 1", "return 11"))
    (house.folder / "docs/page.md").unlink()
    house.write(
        {"notes.py.jinja": CODE.replace("return 2", "return 22"), "docs/page.md": "other\n", "old.txt": None, "new.txt": "for {{ brand }}"}
    )
    planned = plan_upgrade(house.settings, "casa")
    write_upgrade(house.settings, planned)

    text = (house.folder / "notes.py").read_text()
    assert "return 11" in text and "return 22" in text, "what the brand edited stays, and the template's change is there"
    assert not (house.folder / "docs/page.md").exists(), "what the brand removed stays removed"
    assert not (house.folder / "old.txt").exists() and (house.folder / "new.txt").read_text() == "for {{ brand }}"
    assert {file.path: file.change for file in planned.merge.files} == {
        "docs/page.md": "kept",
        "new.txt": "added",
        "notes.py": "changed",
        "old.txt": "removed",
    }
    assert plan_upgrade(house.settings, "casa").is_current


def test_the_diff_can_be_reviewed_and_planning_writes_nothing(house: House) -> None:
    before = house.content()
    house.write({"notes.py.jinja": CODE.replace("return 2", "return 22"), "new.txt": "new"})
    diff = plan_upgrade(house.settings, "casa").diff()

    assert "--- a/brands/casa/notes.py\n+++ b/brands/casa/notes.py\n" in diff and "-    return 2\n+    return 22\n" in diff
    assert "--- /dev/null\n+++ b/brands/casa/new.txt\n" in diff
    assert house.content() == before


def test_an_upgrade_never_touches_another_brand(house: House) -> None:
    villa = house.root / "brands" / "villa"
    before = {path: path.read_bytes() for path in villa.rglob("*") if path.is_file()}
    house.write({"notes.py.jinja": "other\n", "new.txt": "new"})
    write_upgrade(house.settings, plan_upgrade(house.settings, "casa"))

    assert {path: path.read_bytes() for path in villa.rglob("*") if path.is_file()} == before


def test_a_file_that_changed_since_the_plan_is_not_overwritten(house: House) -> None:
    house.write({"notes.py.jinja": "other\n"})
    planned = plan_upgrade(house.settings, "casa")
    (house.folder / "notes.py").write_text("a moment ago\n")

    with pytest.raises(UpgradeError, match=r"notes.py changed meanwhile; nothing was written"):
        write_upgrade(house.settings, planned)
    assert (house.folder / "notes.py").read_text() == "a moment ago\n"


def test_a_file_that_cannot_be_written_puts_the_others_back(house: House) -> None:
    house.write({"docs/page.md": "other\n", "z/new.txt": "new"})
    planned = plan_upgrade(house.settings, "casa")
    (house.folder / "z").write_text("a file where the template wants a folder")
    before = house.content()

    with pytest.raises(OSError, match="z"):
        write_upgrade(house.settings, planned)
    assert house.content() == before, "what was written first is as it was"


def test_a_killed_upgrade_is_completed_by_the_next(house: House) -> None:
    house.write({"notes.py.jinja": CODE.replace("return 2", "return 22"), "docs/page.md": "other\n"})
    wanted = plan_upgrade(house.settings, "casa")
    write_upgrade(house.settings, wanted)
    after = house.content()
    undo_upgrade(wanted, Answers(wanted.base, VALUES).as_text().encode())
    (house.folder / "docs/page.md").write_text("other\n")  # a kill after the first of the files

    planned = plan_upgrade(house.settings, "casa")
    assert not planned.merge.conflicts and not planned.is_current, "its own changes are no conflict"
    write_upgrade(house.settings, planned)
    assert house.content() == after


def test_conflicts_are_written_with_marks_that_the_check_finds(house: House) -> None:
    (house.folder / "notes.py").write_text(CODE.replace("return 1", "return 'mine'"))
    house.write({"notes.py.jinja": CODE.replace("return 1", "return 'theirs'")})
    planned = plan_upgrade(house.settings, "casa")
    assert [file.path for file in planned.merge.conflicts] == ["notes.py"]
    write_upgrade(house.settings, planned)

    from brandhouse_flows.inspection import inspect_folder

    assert any(
        problem.rule_id == "merge-leftover" and problem.file == "notes.py" for problem in inspect_folder(house.folder, house.settings)
    )


def test_a_link_out_of_the_folder_is_refused(house: House, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another brand's")
    (house.folder / "old.txt").unlink()
    (house.folder / "old.txt").symlink_to(tmp_path / "secret")
    house.write({"old.txt": "new\n"})

    with pytest.raises(UpgradeError, match=r"old.txt leads out of the brand's folder"):
        plan_upgrade(house.settings, "casa")


def test_a_template_that_is_lost_and_a_brand_that_is_not_there(house: House) -> None:
    house.workspace.edit(f"brands/casa/{ANSWERS_FILE}", read_template(house.root).digest, "1" * 40)

    with pytest.raises(TemplateError, match="111111111111 that the brand was made from"):
        plan_upgrade(house.settings, "casa")
    with pytest.raises(UnknownBrandError, match="unknown brand 'nobody'"):
        plan_upgrade(house.settings, "nobody")


# -- folders that a person wrote ---------------------------------------------------------------------------------------


def test_an_adopted_folder_follows_in_shared_files_only(house: House) -> None:
    house.write({"pyproject.toml": '[project]\nname = "brand-villa"\nversion = "0.1.0"\n'})
    answers = adopt(house.settings, "villa")
    own = (house.root / "brands/villa/brand.toml").read_bytes()
    house.write(
        {
            "pyproject.toml": '[project]\nname = "brand-villa"\nversion = "0.2.0"\n',
            "docs/page.md": "for rendered brands only\n",
            "guide.md.jinja": "{{ brand }}: new in the template\n",
        }
    )
    planned = plan_upgrade(house.settings, "villa")
    write_upgrade(house.settings, planned)

    assert answers.managed == ("pyproject.toml",), "the notebook is not in this template"
    assert {file.path for file in planned.merge.files} == {"pyproject.toml", "guide.md"}
    assert 'version = "0.2.0"' in (house.root / "brands/villa/pyproject.toml").read_text()
    assert (house.root / "brands/villa/brand.toml").read_bytes() == own
    assert read_answers(house.root / "brands/villa").managed == answers.managed


def test_a_folder_is_adopted_once(house: House) -> None:
    with pytest.raises(UpgradeError, match=r"has a .template.toml already"):
        adopt(house.settings, "casa")


# -- rings -------------------------------------------------------------------------------------------------------------


def test_rings_go_by_risk_then_isolation_then_name_unless_listed(house: House) -> None:
    house.render_brand("villa")
    assert [brand.name for brand in order_brands(house.settings)[0]] == ["casa", "villa"]
    house.workspace.edit("brands/casa/brand.toml", 'risk = "low"', 'risk = "low"\nisolation = "silo"')
    assert [brand.name for brand in order_brands(house.settings)[0]] == ["villa", "casa"], "a pool brand before a silo brand"
    house.workspace.edit("brands/villa/brand.toml", 'risk = "low"', 'risk = "high"')
    assert [brand.name for brand in order_brands(house.settings)[0]] == ["casa", "villa"], "low risk first"
    house.workspace.append("pyproject.toml", '[tool.brandhouse.upgrade]\nfirst = ["villa"]\n')
    assert [brand.name for brand in order_brands(house.settings)[0]] == ["villa", "casa"], "as the platform team lists them"


def test_a_list_that_names_no_managed_brand_is_refused(house: House) -> None:
    house.workspace.append("pyproject.toml", '[tool.brandhouse.upgrade]\nfirst = ["villa"]\n')

    with pytest.raises(UpgradeError, match=r"first in pyproject.toml names villa; allowed: .*: casa"):
        order_brands(house.settings)


def test_a_ring_opens_only_when_the_one_inside_is_done(house: House) -> None:
    house.write({"notes.py.jinja": "other\n"})

    with pytest.raises(UpgradeError, match="ring three comes after ring one, and casa is not upgraded"):
        upgrade_ring(house.settings, Ring.THREE, house.workspace.ledger, house.workspace.store, lambda name, run, *given: run(*given))
