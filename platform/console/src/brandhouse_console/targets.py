"""What a user named: brands and models, and the words offered for completion."""

from pathlib import Path

from brandhouse_shared.brands import Brand, brand_folders, find_brand, read_brand
from brandhouse_shared.errors import BrandConfigError, BrandhouseError
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings


def models_of_target(settings: Settings, target: str) -> list[ModelKey]:
    """Return the model named `BRAND/MODEL`, or all models of `BRAND`.

    Raises:
        UnknownBrandError, UnknownModelError, BrandConfigError: If there is no such thing.
    """
    if "/" not in target:
        return find_brand(settings.brands_dir, target).model_keys
    return [find_model(settings, target)[1]]


def find_model(settings: Settings, target: str) -> tuple[Brand, ModelKey]:
    """Return the brand and key of `BRAND/MODEL`.

    Raises:
        InvalidNameError, UnknownBrandError, UnknownModelError, BrandConfigError: If there is no such thing.
    """
    key = ModelKey.parse(target)
    brand = find_brand(settings.brands_dir, key.brand)
    brand.model(key.model)
    return brand, key


def check_destination(settings: Settings, brand: str, path: Path | None) -> None:
    """Refuse to write a brand's rows or reports into another brand's folder, or among the platform's own state.

    Raises:
        BrandhouseError: If `path` lies there.
    """
    if path is None:
        return
    place, brands_dir = path.resolve(), settings.brands_dir.resolve()
    if place.is_relative_to(brands_dir) and not place.is_relative_to(brands_dir / brand):
        raise BrandhouseError(f"{brand}: {path} lies in another brand's folder; choose a place in brands/{brand} or outside brands/")
    if place.is_relative_to(settings.home.resolve()):
        raise BrandhouseError(f"{brand}: {path} lies in the platform's own state, {settings.home}; choose a place outside it")


def known_brands() -> list[str]:
    """Names of all brand folders."""
    return [folder.name for folder in brand_folders(load_settings().brands_dir)]


def known_models() -> list[str]:
    """`BRAND/MODEL` of all readable brands."""
    keys: list[str] = []
    for folder in brand_folders(load_settings().brands_dir):
        try:
            keys += [str(key) for key in read_brand(folder).model_keys]
        except BrandConfigError:
            continue  # completion offers what can be read; `check` says what cannot
    return keys
