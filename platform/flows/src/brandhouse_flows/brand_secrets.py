"""Which environment variables are whose: `BRANDHOUSE_SECRET_<BRAND>_*` belongs to one brand."""

from collections.abc import Iterable, Mapping

from brandhouse_shared.brands import Brand, brand_folders
from brandhouse_shared.declarations import SECRET_PREFIX
from brandhouse_shared.errors import DatasetError


def secrets_of(brand: str, known_brands: Iterable[str], source: Mapping[str, str]) -> dict[str, str]:
    """The secrets of one brand: `BRANDHOUSE_SECRET_<BRAND>_*`.

    A variable belongs to the longest brand name that fits, so that brand `auto` never sees those of `auto_plein`.
    """
    prefixes = {name: f"{SECRET_PREFIX}{name.upper()}_" for name in {brand, *known_brands}}
    mine = {name: value for name, value in source.items() if name.startswith(prefixes[brand])}
    longer = tuple(prefix for prefix in prefixes.values() if len(prefix) > len(prefixes[brand]) and prefix.startswith(prefixes[brand]))
    return {name: value for name, value in mine.items() if not (longer and name.startswith(longer))}


def read_secret(brand: Brand, variable: str, subject: str, source: Mapping[str, str]) -> str:
    """The value of one of the brand's variables.

    Raises:
        DatasetError: If it is not set, or belongs to a brand of a longer name.
    """
    known = [folder.name for folder in brand_folders(brand.folder.parent)]
    value = secrets_of(brand.name, known, source).get(variable)
    if not value:
        raise DatasetError(f"{subject}: the environment variable {variable} is not set, or not the brand's; set it where runs are executed")
    return value
