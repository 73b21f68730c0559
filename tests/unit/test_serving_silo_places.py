"""How the gateway's processes and the one that supervises agree on what brands' processes are wanted: by small files."""

import os
import time
from pathlib import Path

from brandhouse_serving.silo_places import idle_seconds, place_of, wished_places


def test_a_wish_of_any_process_is_seen_and_the_newest_one_counts(tmp_path: Path) -> None:
    place_of(tmp_path, "casa").write_wish("casa", 512)
    place_of(tmp_path, "stil").write_wish("stil", 512)
    place_of(tmp_path, "stil").write_wish("stil", 1024)
    found = {wish.brand: (place, wish.memory_mib) for place, wish in wished_places(tmp_path)}
    assert found == {"casa": (place_of(tmp_path, "casa"), 512), "stil": (place_of(tmp_path, "stil"), 1024)}
    assert place_of(tmp_path, "casa").folder.stat().st_mode & 0o777 == 0o700


def test_a_place_has_a_path_that_a_socket_can_have_whatever_the_brand_is_called(tmp_path: Path) -> None:
    names = ["a" * 40, "a" * 39 + "b", "x"]
    places = {place_of(Path("/dev/shm/brandhouse-gateway-1234567-abcdefgh"), name).socket for name in names}
    assert len(places) == 3 and max(len(str(place)) for place in places) < 100


def test_a_wish_that_is_not_renewed_grows_old_and_one_that_is_cleared_is_gone(tmp_path: Path) -> None:
    place = place_of(tmp_path, "casa")
    place.renew_wish()
    assert place.read_wish() is None, "nothing was wanted"
    place.write_wish("casa", 512)
    os.utime(place.wish, (time.time() - 100, time.time() - 100))
    old = place.read_wish()
    assert old is not None and 99 < idle_seconds(old) < 160
    place.renew_wish()
    new = place.read_wish()
    assert new is not None and idle_seconds(new) < 60
    place.failure.touch()
    place.clear()
    assert place.read_wish() is None and not place.failure.exists() and list(wished_places(tmp_path)) == []
