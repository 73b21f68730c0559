"""Generated rules and dashboards: parsed as PromQL, and held against what the gateway really shows."""

import ast
import enum
import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as grafana
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from data_house import brand_maker

from brandhouse_aftercare import dead_man
from brandhouse_aftercare.alert_planning import BUDGET_CHECK
from brandhouse_aftercare.alert_trying import TEST_CHECK
from brandhouse_aftercare.dashboards import brand_dashboard, fleet_dashboard
from brandhouse_aftercare.monitoring import standard_checks
from brandhouse_aftercare.prometheus_rules import FAULT_CODES, brand_groups, house_groups
from brandhouse_aftercare.runbook_pages import INDEX, PAGES, runbook_page
from brandhouse_console.observability import dashboards, rules
from brandhouse_serving.metric_families import FAMILIES, Kind
from brandhouse_serving.problems import status_of
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.settings import Settings

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
NOT_OURS = {"up": {"job", "instance"}}
"""What Prometheus itself adds."""

OF_PROMETHEUS = {"job", "instance", "__name__"}


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> list[Brand]:
    root = tmp_path_factory.mktemp("house")
    settings = Settings(root=root, home=root, ledger_url=SecretStr("sqlite://"))
    make = brand_maker(settings, root)
    alerts = '[alerts]\nmax_failure_share = 0.07\nno_traffic_hours = 5\nrunbooks_url = "https://docs.example/runbooks/"\n'
    for name in ("casa", "villa"):
        make(name, more=alerts)
    path = settings.brands_dir / "casa" / "brand.toml"
    path.write_text(path.read_text() + "[models.price.serving]\nlatency_budget_ms = 4\n")
    return [find_brand(settings.brands_dir, name) for name in ("casa", "villa")]


def rules_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (group,) = document["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def shown_families() -> dict[str, set[str]]:
    """Names of series as Prometheus shows them, with their labels."""
    shown: dict[str, set[str]] = {}
    for family in FAMILIES.values():
        labels = {*family.labels, *OF_PROMETHEUS}
        if family.kind is Kind.HISTOGRAM:
            shown |= {f"{family.name}{suffix}": labels | {"le"} for suffix in ("_bucket", "_sum", "_count")}
        else:
            shown[f"{family.name}_total" if family.kind is Kind.COUNTER else family.name] = labels
    return shown | NOT_OURS


def selectors(node: Any) -> Iterator[Any]:
    """All vector selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        part = getattr(node, name, None)
        if part is not None and not isinstance(part, str):
            yield from selectors(part)
    for part in getattr(node, "args", None) or []:
        yield from selectors(part)


def grouped_by(node: Any) -> Iterator[str]:
    """Labels that aggregations of an expression keep."""
    if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
        yield from node.modifier.labels
    for name in ("expr", "lhs", "rhs"):
        part = getattr(node, name, None)
        if part is not None:
            yield from grouped_by(part)
    for part in getattr(node, "args", None) or []:
        yield from grouped_by(part)


def check_expression(text: str, brand: str | None) -> None:
    """Every series exists with the labels that are asked of it, and belongs to the brand."""
    parsed = promql_parser.parse(text.replace("$__rate_interval", "5m").replace("$__range", "1d"))
    found = list(selectors(parsed))
    families = shown_families()
    assert found, text
    for selector in found:
        assert selector.name in families, f"{selector.name} is not shown by the gateway"
        matchers = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert set(matchers) <= families[selector.name], f"{selector.name} has no labels {set(matchers) - families[selector.name]}"
        if brand is not None and selector.name != "up":
            assert matchers["brand"] == brand, f"{selector.name} of other brands: {text}"
    known = set.union(*(families[selector.name] for selector in found))
    assert set(grouped_by(parsed)) <= known, text


def test_every_rule_asks_for_series_that_exist_and_for_its_brand_alone(brands: list[Brand]) -> None:
    for brand in brands:
        for rule in rules_of(brand_groups(brand)).values():
            check_expression(rule["expr"], brand.name)
    for rule in rules_of(house_groups()).values():
        check_expression(rule["expr"], None)


def test_rules_say_whose_they_are_and_what_to_do(brands: list[Brand]) -> None:
    rules = rules_of(brand_groups(brands[0])) | rules_of(house_groups())
    assert {rule["labels"].get("brand") for rule in rules.values()} == {"casa", None}
    for name, rule in rules.items():
        page = rule["annotations"]["runbook"].rpartition("/")[2].rpartition(".")[0]
        assert page != "index", f"{name} has no page of its own"
        assert (RUNBOOKS / f"{page}.md").is_file(), f"{name}: docs/runbooks/{page}.md is missing"
    assert rules["BrandhouseNoTraffic"]["annotations"]["runbook"].startswith("https://docs.example/runbooks/")


def test_limits_are_those_that_the_brand_declares(brands: list[Brand]) -> None:
    casa, villa = (rules_of(brand_groups(brand)) for brand in brands)
    assert "> 0.07" in casa["BrandhouseRequestsFail"]["expr"]
    assert "[5h]" in casa["BrandhouseNoTraffic"]["expr"]
    assert casa["BrandhouseLatencyOverBudget"]["expr"].endswith("* 1000 > 4.0")
    assert casa["BrandhouseLatencyOverBudget"]["labels"]["model"] == "price"
    assert "BrandhouseLatencyOverBudget" not in villa, "no budget, no rule"


def test_faults_are_the_codes_that_no_client_causes() -> None:
    assert {status_of(RetryableError("x"))[1], status_of(ValueError("x"))[1]} == set(FAULT_CODES)  # type: ignore[arg-type]


def panels_of(text: str) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(text)["panels"]
    return panels


def test_dashboards_ask_for_series_that_exist_and_a_brands_for_its_own_alone(brands: list[Brand]) -> None:
    for brand in brands:
        for panel in panels_of(brand_dashboard(brand)):
            for target in panel["targets"]:
                check_expression(target["expr"], brand.name)
    for panel in panels_of(fleet_dashboard(brands)):
        for target in panel["targets"]:
            check_expression(target["expr"], None)


def test_legends_name_labels_that_the_query_keeps(brands: list[Brand]) -> None:
    for text in (brand_dashboard(brands[0]), fleet_dashboard(brands)):
        for panel in panels_of(text):
            for target in panel["targets"]:
                named = {part.partition("}}")[0] for part in target.get("legendFormat", "").split("{{")[1:]}
                parsed = promql_parser.parse(target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1d"))
                kept = set(grouped_by(parsed)) or {"cause"}
                assert named <= kept, f"{panel['title']}: {named - kept}"


def test_dashboards_are_what_grafanas_own_model_reads_and_writes(brands: list[Brand]) -> None:
    for text in (brand_dashboard(brands[0]), fleet_dashboard(brands)):
        read = grafana.Dashboard.from_json(json.loads(text))
        assert json.loads(json.dumps(read, cls=JSONEncoder)) == json.loads(text), "a key that Grafana's model does not know"


def _is_model(hint: Any) -> bool:
    is_theirs = isinstance(hint, type) and hint.__module__.startswith("grafana_foundation_sdk")
    return is_theirs and not getattr(hint, "_is_protocol", False) and bool(getattr(hint, "__annotations__", {}))


def misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Where a value does not fit the type that Grafana's library declares for it."""
    choices = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint is typing.Any or hint is object:
        return
    if origin is typing.Union or origin is types.UnionType:
        if all(list(misfits(value, choice, where)) for choice in choices):
            yield f"{where}: {value!r} is none of {hint}"
    elif origin in (list, dict) and not isinstance(value, origin):
        yield f"{where}: {value!r} is no {origin.__name__}"
    elif origin is list:
        for index, item in enumerate(value):
            yield from misfits(item, choices[0], f"{where}[{index}]")
    elif origin is dict:
        for name, item in value.items():
            yield from misfits(item, choices[1], f"{where}.{name}")
    elif origin is typing.Literal:
        yield from [] if value in choices else [f"{where}: {value!r} is not allowed"]
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        yield from [] if value in [member.value for member in hint] else [f"{where}: {value!r} is not allowed"]
    elif _is_model(hint) and isinstance(value, hint):
        for name, own in typing.get_type_hints(hint).items():
            yield from misfits(getattr(value, name, None), own, f"{where}.{name}")
    elif hint is float:
        yield from [] if isinstance(value, int | float) else [f"{where}: {value!r} is no number"]
    elif isinstance(hint, type) and not isinstance(value, hint):
        yield f"{where}: {value!r} is no {hint.__name__}"


def test_dashboards_fit_the_types_that_grafanas_library_declares(brands: list[Brand]) -> None:
    for text in (brand_dashboard(brands[0]), fleet_dashboard(brands)):
        assert list(misfits(grafana.Dashboard.from_json(json.loads(text)), grafana.Dashboard, "dashboard")) == []
        broken = json.loads(text) | {"graphTooltip": 7, "title": 3}
        assert len(list(misfits(grafana.Dashboard.from_json(broken), grafana.Dashboard, "dashboard"))) == 2, "the test can tell"


def test_panels_have_ids_of_their_own_and_do_not_overlap(brands: list[Brand]) -> None:
    for text in (brand_dashboard(brands[0]), fleet_dashboard(brands)):
        document = json.loads(text)
        taken: set[tuple[int, int]] = set()
        for panel in document["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            assert not cells & taken, f"{panel['title']} lies on another"
            assert place["x"] + place["w"] <= 24
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            taken |= cells
        ids = [panel["id"] for panel in document["panels"]]
        assert len(set(ids)) == len(ids)
        assert len(document["uid"]) <= 40


def test_dashboards_are_the_same_bytes_every_time_and_hold_nothing_of_another_brand(brands: list[Brand]) -> None:
    casa, villa = (brand_dashboard(brand) for brand in brands)
    assert casa == brand_dashboard(brands[0])
    assert "villa" not in casa
    assert "casa" not in villa
    assert json.loads(casa)["uid"] != json.loads(villa)["uid"]


def test_every_page_that_is_named_for_a_check_exists() -> None:
    missing = {page for page in PAGES.values() if not (RUNBOOKS / f"{page}.md").is_file()}
    assert not missing, f"docs/runbooks lacks {sorted(missing)}"


def signal_names() -> Iterator[str]:
    """First arguments of `Signal(...)` in the platform, where they are written out."""
    for path in (ROOT / "platform" / "aftercare" / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Signal" and node.args:
                first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
                if isinstance(first, ast.Constant):
                    yield str(first.value)


def test_every_check_has_a_page_of_its_own() -> None:
    told = {*signal_names(), *(check.name for check in standard_checks()), BUDGET_CHECK, TEST_CHECK, dead_man.NAME}
    assert {"drill", "retrain", "approval", "budget.", "drift", "quality"} <= told
    assert {name for name in told if runbook_page(name) == INDEX} == set()


def test_files_of_brands_that_are_gone_are_removed_and_equal_ones_left_alone(
    brands: list[Brand], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(brands[0].folder.parent.parent))
    for name in ("gone.rules.yml", "gone.dashboard.json", "mine.yml"):
        (tmp_path / name).touch()
    rules(None, output=tmp_path, job="gateways", as_json=False)
    dashboards(None, output=tmp_path, as_json=False)
    files = {path.name for path in tmp_path.iterdir()}
    of_brands = {f"{name}{ending}" for name in ("casa", "villa") for ending in (".rules.yml", ".dashboard.json")}
    assert files == {*of_brands, "house.rules.yml", "fleet.dashboard.json", "mine.yml"}
    assert 'up{job="gateways"}' in (tmp_path / "house.rules.yml").read_text()
    capsys.readouterr()
    rules("casa", output=tmp_path, job="gateways", as_json=False)
    assert "1 files, 0 written" in capsys.readouterr().out
    assert (tmp_path / "villa.rules.yml").is_file(), "one brand's files do not remove another's"
