"""What the gateway shows to Prometheus: whose series, of which versions, and in what form."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from brandhouse_serving.metric_families import CANARY, FAMILIES, IN_FLIGHT, KEPT_VERSIONS, SHADOW, WORKERS, Kind
from brandhouse_serving.metrics import Metrics
from brandhouse_shared.names import ModelKey, VersionKey

CASA = VersionKey("casa", "price", 1)
STIL = VersionKey("stil", "taste", 3)


def samples(metrics: Metrics, brand: str | None = None) -> dict[tuple[str, ...], float]:
    """Value by name and label values."""
    families = text_string_to_metric_families(metrics.render(brand).decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_one_answer_counts_request_rows_and_latency() -> None:
    metrics = Metrics()
    metrics.of(CASA).count(32, 0.004)
    metrics.of(CASA).count(1, 0.0005)
    metrics.of(CASA).count(1, 9.0)
    shown = samples(metrics)
    where = ("casa", "price", "v1")
    assert shown["brandhouse_requests_total", *where] == 3
    assert shown["brandhouse_rows_total", *where] == 34
    assert shown["brandhouse_latency_seconds_count", *where] == 3
    assert shown["brandhouse_latency_seconds_sum", *where] == pytest.approx(9.0045)
    buckets = {bound: shown["brandhouse_latency_seconds_bucket", *where, bound] for bound in ("0.0005", "0.0025", "0.005", "5.0", "+Inf")}
    assert buckets == {"0.0005": 1, "0.0025": 1, "0.005": 2, "5.0": 2, "+Inf": 3}, "a bound belongs to its bucket, and buckets add up"


def test_the_text_is_one_that_prometheus_reads_family_by_family() -> None:
    metrics = Metrics()
    metrics.of(CASA).count(1, 0.1)
    metrics.count_error("", "", 'no "such"\\code\n')
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    assert families.keys() == FAMILIES.keys()
    assert all(families[name].type == family.kind and families[name].documentation == family.help for name, family in FAMILIES.items())
    (error,) = families["brandhouse_errors"].samples
    assert error.labels == {"brand": "", "model": "", "code": 'no "such"\\code\n'}


def test_sums_of_all_processes_are_exact_and_gauges_are_of_the_living(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path, 0), Metrics(tmp_path, 1)
    for metrics in (first, second):
        metrics.of(CASA).count(2, 0.25)
        metrics.of_model(CASA.model_key).begin()
    second.of_model(CASA.model_key).end()
    shown = samples(first)
    assert shown == samples(second), "any process shows the same"
    assert shown["brandhouse_requests_total", "casa", "price", "v1"] == 2
    assert shown[IN_FLIGHT, "casa", "price"] == 1
    assert shown[WORKERS,] == 2


def test_a_successor_keeps_the_counters_and_begins_the_gauges_anew(tmp_path: Path) -> None:
    first = Metrics(tmp_path, 0)
    first.of(CASA).count(1, 0.1)
    first.of_model(CASA.model_key).begin()
    first.count_load(CASA)
    first.note_loaded(3, 4096)
    first.close()
    shown = samples(Metrics(tmp_path, 0))
    assert shown["brandhouse_requests_total", "casa", "price", "v1"] == 1
    assert shown["brandhouse_model_loads_total", "casa", "price", "v1"] == 1
    assert shown[IN_FLIGHT, "casa", "price"] == 0
    assert shown["brandhouse_models_loaded",] == shown["brandhouse_model_memory_bytes",] == 0
    assert shown["brandhouse_worker_starts_total",] == 2


def test_a_brand_sees_its_own_series_only_even_if_a_label_looks_like_its_name() -> None:
    metrics = Metrics()
    metrics.of(CASA).count(1, 0.1)
    metrics.of(STIL).count(1, 0.1)
    metrics.count_error("stil", "taste", 'brand="casa"')
    metrics.count_error("", "", "unauthenticated")
    own = samples(metrics, "casa")
    assert own and all(labels[0] == "casa" for _, *labels in own)
    assert not samples(metrics, "cas"), "nor is a beginning of a name the name"


def test_only_the_newest_versions_have_series_of_their_own_and_none_is_lost() -> None:
    metrics = Metrics()
    for number in range(1, 31):
        metrics.of(VersionKey("casa", "price", number)).count(1, 0.1)
    metrics.of(STIL).count(1, 0.1)
    shown = {key[1:]: value for key, value in samples(metrics).items() if key[0] == "brandhouse_requests_total"}
    newest = [f"v{number}" for number in range(31 - KEPT_VERSIONS, 31)]
    assert shown == {
        **{("casa", "price", name): 1 for name in newest},
        ("casa", "price", "older"): 30 - KEPT_VERSIONS,
        ("stil", "taste", "v3"): 1,
    }


def test_trials_and_shed_requests_have_series() -> None:
    metrics = Metrics()
    metrics.count(SHADOW, "casa", "price", "v2", "disagree").add(3)
    metrics.count(CANARY, "casa", "price", "v2", "failed").add()
    metrics.of_model(ModelKey("casa", "price")).count_shed("rate")
    metrics.count_fallback("casa", "price", 1, "previous")
    metrics.count_load(CASA)
    metrics.count_load_failure(STIL)
    metrics.count_unload(CASA)
    metrics.note_loaded(3, 4096)
    shown = samples(metrics)
    assert shown["brandhouse_shadow_answers_total", "casa", "price", "v2", "disagree"] == 3
    assert shown["brandhouse_canary_answers_total", "casa", "price", "v2", "failed"] == 1
    assert shown["brandhouse_shed_total", "casa", "price", "rate"] == 1
    assert shown["brandhouse_fallbacks_total", "casa", "price", "v1", "previous"] == 1
    assert shown["brandhouse_model_unloads_total", "casa", "price", "v1"] == 1
    assert (
        shown["brandhouse_model_loads_total", "casa", "price", "v1"]
        == shown["brandhouse_model_load_failures_total", "stil", "taste", "v3"]
        == 1
    )
    assert (shown["brandhouse_models_loaded",], shown["brandhouse_model_memory_bytes",]) == (3, 4096)


def test_the_docs_name_every_series() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "serving.md").read_text("utf-8")
    shown = [f"{name}_total" if family.kind is Kind.COUNTER else name for name, family in FAMILIES.items()]
    rows = [f"| `{name}` | {', '.join(FAMILIES[name.removesuffix('_total')].labels)} |".replace("|  |", "| |") for name in shown]
    assert not [row for row in rows if row not in page]


def test_a_series_with_other_labels_than_its_family_has_is_refused() -> None:
    with pytest.raises(TypeError, match=r"brandhouse_shed has the labels \('brand', 'model', 'cause'\), not 2"):
        Metrics().count("brandhouse_shed", "casa", "price")
