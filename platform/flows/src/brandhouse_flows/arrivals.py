"""Where new bytes of a dataset are put together before they are let in: one arrival at a time, nothing left behind."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brandhouse_flows.content import disk_full_named, exclusive
from brandhouse_flows.data_project import LOCK_WAIT_SECONDS
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import DataProjectLockedError
from brandhouse_shared.settings import Settings


@contextmanager
def arriving_file(settings: Settings, brand: Brand, dataset: str, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[Path]:
    """Yield the path of a file to be written, named as the dataset's; it is gone afterwards.

    The folder can be read by this user only, and what a killed process left there is removed.

    Raises:
        DataProjectLockedError: If the same dataset is arriving in another process for too long.
        DiskFullError: If there is no space.
    """
    parent = settings.home / "arrivals" / brand.name / dataset
    try:
        with exclusive(settings.home / "locks" / f"arrival-{brand.name}-{dataset}.lock", lock_wait_seconds), disk_full_named(parent):
            shutil.rmtree(parent, ignore_errors=True)
            parent.mkdir(parents=True)
            folder = Path(tempfile.mkdtemp(dir=parent))
            try:
                yield folder / Path(brand.config.datasets[dataset].file).name
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except TimeoutError as error:
        raise DataProjectLockedError(brand.name, lock_wait_seconds) from error
