from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

cancellation = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_ritklaar.cancellation")


def bookings(count: int) -> pd.DataFrame:
    """Invented bookings, each made eight and a half hours before its ride; every second one without a destination."""
    start = pd.to_datetime(["2013-03-04 17:30"] * count)
    places = {"from_lat": 13.0, "from_long": 77.6, "to_lat": [13.1, None] * (count // 2), "to_long": [77.7, None] * (count // 2)}
    kinds = {"vehicle_model_id": "12", "package_id": "", "travel_type_id": "2"}
    ways = {"online_booking": [1.0, 0.0] * (count // 2), "mobile_site_booking": 0.0}
    return pd.DataFrame({"from_date": start, "booking_created": start - pd.Timedelta("8h30min"), **kinds, **places, **ways})


def test_times_are_told_as_hours() -> None:
    features = cancellation.build_features(bookings(2)).iloc[0]

    assert (features["hours_ahead"], features["start_hour"], features["booked_hour"]) == (8.5, 17, 9), "ahead of the ride, by the clock"


def test_an_unknown_destination_has_no_distance() -> None:
    features = cancellation.build_features(bookings(2))

    assert features["north"].round(3).tolist() == [0.1, 0.0] and features["to_lat"].tolist() == [13.1, -1.0], "unknown is marked"


@pytest.mark.parametrize("kind", ["boosting", "linear"])
def test_every_candidate_learns_from_the_way_of_booking(kind: str) -> None:
    rows = bookings(100)
    features = cancellation.build_features(rows)
    estimator = cancellation.build_estimator(kind=kind).fit(features, rows["online_booking"].astype(int))

    online, by_phone = estimator.predict_proba(features.head(2))[:, 1]
    assert online > 0.5 > by_phone, "here every online booking is cancelled"
