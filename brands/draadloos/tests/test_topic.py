from pathlib import Path

import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

topic = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_draadloos.topic")

HEADER = "From: someone\nNewsgroups: rec.autos\n\n"


def test_the_header_is_cut_off() -> None:
    rows = pd.DataFrame({"text": [HEADER + "My Engine stalls.\n\nHelp!", "No header here", ""]})

    bodies = topic.build_features(rows)["body"].tolist()
    assert bodies == ["my engine stalls.\n\nhelp!", "no header here", ""], "what names the newsgroup is not read, the rest is"


def test_a_post_goes_to_the_desk_of_its_words() -> None:
    rows = pd.DataFrame({"text": [HEADER + "engine brake clutch", HEADER + "volt diode circuit"] * 20})
    features = topic.build_features(rows)
    estimator = topic.build_estimator().fit(features, ["cars", "electronics"] * 20)

    assert list(estimator.predict(features.head(2))) == ["cars", "electronics"], "the words decide, the header is the same"
