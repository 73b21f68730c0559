"""The artifact store: content addressed, verified, one folder per brand; and really BentoML's."""

import threading
from pathlib import Path

import pytest

from brandhouse_serving.model_store import BentoArtifactStore, tag_name
from brandhouse_shared.artifacts import folder_digest
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
STIL = ModelKey("stil", "price")


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    (folder / "plots").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "model.onnx").write_bytes(b"\0" * 1000)
    (folder / "plots" / "a.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> BentoArtifactStore:
    return BentoArtifactStore(tmp_path / "home")


def test_what_was_saved_is_found_with_all_its_files(store: BentoArtifactStore, draft: Path) -> None:
    digest = store.save(CASA, draft, {"runtime": "compiled"})
    found = store.find(CASA, digest)
    assert digest == folder_digest(draft) == folder_digest(found)
    assert (found / "plots" / "a.svg").read_text() == "<svg/>"


def test_bentoml_itself_lists_the_artifact_with_its_labels(store: BentoArtifactStore, draft: Path, tmp_path: Path) -> None:
    from bentoml._internal.models import ModelStore

    digest = store.save(CASA, draft, {"runtime": "compiled"})
    listed = ModelStore(tmp_path / "home" / "bentoml" / "casa" / "models").list()
    assert [str(model.tag) for model in listed] == [f"casa.price:{digest[:40]}"]
    assert listed[0].info.labels == {"runtime": "compiled", "brand": "casa", "model": "price", "digest": digest}
    assert Path(listed[0].path) == store.find(CASA, digest), "reading goes past BentoML: its layout must be the one expected"


def test_saving_the_same_twice_is_one_artifact_and_leaves_no_scratch(store: BentoArtifactStore, draft: Path, tmp_path: Path) -> None:
    import tempfile

    first = store.save(CASA, draft, {})
    before = store.find(CASA, first).stat().st_ino
    assert store.save(CASA, draft, {"other": "label"}) == first
    assert store.find(CASA, first).stat().st_ino == before
    assert not list(Path(tempfile.gettempdir()).glob("bentoml-model-casa.price-*"))


def test_one_brand_does_not_find_another_brands_artifact(store: BentoArtifactStore, draft: Path) -> None:
    digest = store.save(CASA, draft, {})
    with pytest.raises(ArtifactCorruptError, match=r"stil/price artifact \w+: it is not in the store"):
        store.find(STIL, digest)


@pytest.mark.parametrize("change", ["alter", "add", "remove"])
def test_an_altered_artifact_is_refused_also_after_it_was_verified_once(store: BentoArtifactStore, draft: Path, change: str) -> None:
    digest = store.save(CASA, draft, {})
    folder = store.find(CASA, digest)
    if change == "alter":
        (folder / "model.onnx").write_bytes(b"\1" + b"\0" * 999)
    elif change == "add":
        (folder / "extra.py").write_text("")
    else:
        (folder / "plots" / "a.svg").unlink()
    for reader in (store, BentoArtifactStore(folder.parents[4])):
        with pytest.raises(ArtifactCorruptError, match="its bytes are not those that were registered; the version is not used"):
            reader.find(CASA, digest)


def test_saving_repairs_what_was_altered_or_half_written(store: BentoArtifactStore, draft: Path) -> None:
    digest = store.save(CASA, draft, {})
    (store.path_of(CASA, digest) / "model.onnx").unlink()
    assert store.save(CASA, draft, {}) == digest
    assert folder_digest(store.find(CASA, digest)) == digest


def test_deleting_is_final_and_may_be_repeated(store: BentoArtifactStore, draft: Path) -> None:
    digest = store.save(CASA, draft, {})
    store.delete(CASA, digest)
    store.delete(CASA, digest)
    with pytest.raises(ArtifactCorruptError, match="not in the store"):
        store.find(CASA, digest)


def test_many_writers_of_the_same_and_other_content_do_not_disturb_each_other(tmp_path: Path) -> None:
    drafts = []
    for number in range(4):
        folder = tmp_path / f"draft{number}"
        folder.mkdir()
        (folder / "manifest.json").write_text(str(number % 2))
        drafts.append(folder)
    digests: list[str] = []

    def save(folder: Path) -> None:
        digests.append(BentoArtifactStore(tmp_path / "home").save(CASA, folder, {}))

    threads = [threading.Thread(target=save, args=[folder]) for folder in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4 and len(set(digests)) == 2
    assert all(BentoArtifactStore(tmp_path / "home").find(CASA, digest) for digest in digests)


def test_what_is_no_digest_cannot_become_a_path(store: BentoArtifactStore) -> None:
    with pytest.raises(ArtifactCorruptError, match="the digest is no SHA-256"):
        store.find(CASA, "../../../etc")


def test_names_that_bentoml_refuses_are_shortened_without_meeting_each_other(store: BentoArtifactStore, draft: Path) -> None:
    long = [ModelKey("b" * 40, "m" * 39 + letter) for letter in "xy"]
    odd = [ModelKey("casa", "price_"), ModelKey("casa_", "price")]
    names = [tag_name(key) for key in [*long, *odd]]
    assert len(set(names)) == 4 and all(len(name) <= 63 for name in names)
    for key in [*long, *odd]:
        assert store.find(key, store.save(key, draft, {})).is_dir()
