"""Secrets as files: private, whole, each brand's own; the environment goes first."""

from pathlib import Path

import pytest

from brandhouse_shared.secret_files import SecretFileError, adopt_secrets, home_of, read_secrets, secret_file, write_secrets


def test_what_was_written_is_private_and_adopted_where_the_environment_says_nothing(tmp_path: Path) -> None:
    write_secrets(tmp_path, "auto", "store", {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "eu"})
    write_secrets(tmp_path, "auto_deals", "store", {"AWS_REGION": "us"})
    assert secret_file(tmp_path, "auto", "store").stat().st_mode & 0o777 == 0o600
    assert read_secrets(tmp_path, "auto", "store") == {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "eu"}
    environment = {"BRANDHOUSE_SECRET_AUTO_AWS_REGION": "mine"}
    adopt_secrets(tmp_path, environment)
    assert environment == {
        "BRANDHOUSE_SECRET_AUTO_AWS_REGION": "mine",
        "BRANDHOUSE_SECRET_AUTO_AWS_ACCESS_KEY_ID": "k",
        "BRANDHOUSE_SECRET_AUTO_DEALS_AWS_REGION": "us",
    }
    write_secrets(tmp_path, "auto", "store", {"AWS_REGION": "eu"})
    assert read_secrets(tmp_path, "auto", "store") == {"AWS_REGION": "eu"}, "an old key stayed"


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_secrets(tmp_path, "auto", "store", {"AWS_REGION": "eu"})
    secret_file(tmp_path, "auto", "store").chmod(0o640)
    with pytest.raises(SecretFileError, match="can be read by others"):
        adopt_secrets(tmp_path, {})


@pytest.mark.parametrize("line", ["BRANDHOUSE_SECRET_CASA_KEY=hidden", "PATH=hidden", "hidden", "BRANDHOUSE_SECRET_AUTO_KEY=hid den"])
def test_a_line_of_another_brand_or_variable_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    write_secrets(tmp_path, "auto", "store", {"AWS_REGION": "eu"})
    path = secret_file(tmp_path, "auto", "store")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SecretFileError, match="line 2: must be BRANDHOUSE_SECRET_AUTO_NAME=VALUE") as raised:
        read_secrets(tmp_path, "auto", "store")
    assert "hid" not in str(raised.value).replace("hidden, it", "")


def test_the_home_is_found_as_settings_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brands" / "casa").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "brands" / "casa")
    assert home_of({}) == tmp_path / ".brandhouse"
    assert home_of({"BRANDHOUSE_HOME": "/elsewhere"}) == Path("/elsewhere")
    assert home_of({"BRANDHOUSE_ROOT": str(tmp_path)}) == tmp_path / ".brandhouse"
