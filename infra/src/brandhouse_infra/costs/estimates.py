"""Euro a month of a stack: each resource of a plan times its price, and what it is assumed to use.

A type that is neither priced nor known to be free is named in the estimate: it is not quietly zero.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brandhouse_infra.costs.prices import Prices, read_prices
from brandhouse_infra.errors import InfraError

Values = Mapping[str, Any]

LATER = "_known_after_apply"
"""Under this key a plan's values name the arguments that are known only later; a plan leaves them out."""


class UnknownRegionError(InfraError):
    """The table has no prices of a region."""

    def __init__(self, region: str, known: Iterable[str]) -> None:
        super().__init__(f"no prices for {region} in prices.toml; known: {', '.join(known)}. Add a table for it, with its source")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an estimate.

    Attributes:
        what: In words.
        addresses: Of the resources that it is about.
        usd: A month.
        assumed: Whether it rests on assumed use, not on what is declared.
    """

    what: str
    addresses: tuple[str, ...]
    usd: float
    assumed: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stack costs a month."""

    items: tuple[Item, ...]
    unpriced: tuple[str, ...]
    eur_per_usd: float

    @property
    def eur(self) -> float:
        """The sum, in euro."""
        return round(sum(item.usd for item in self.items) * self.eur_per_usd, 2)

    @property
    def declared_eur(self) -> float:
        """What is paid even if nobody uses anything."""
        return round(sum(item.usd for item in self.items if not item.assumed) * self.eur_per_usd, 2)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as an estimate sees it: what a plan and a stack have in common."""

    kind: str
    name: str
    values: Values

    @property
    def address(self) -> str:
        """As Terraform writes it."""
        return f"{self.kind}.{self.name}"


def resources_of_plan(document: Mapping[str, Any]) -> list[Resource]:
    """What would be there after a plan, from `terraform show -json`."""
    root = document.get("planned_values", {}).get("root_module", {})
    later = {one["address"]: one["change"].get("after_unknown") or {} for one in document.get("resource_changes", ())}
    return [
        Resource(one["type"], one["name"], {**one["values"], LATER: tuple(later.get(one["address"], ()))})
        for one in root.get("resources", ())
        if one.get("mode") == "managed"
    ]


def resources_of_stack(document: Mapping[str, Any]) -> list[Resource]:
    """What a stack declares."""
    return [Resource(kind, name, values) for kind, named in document.get("resource", {}).items() for name, values in named.items()]


def estimate(resources: Iterable[Resource], region: str, prices: Prices | None = None) -> Estimate:
    """Add up a stack.

    Args:
        resources: Of the whole stack, not of what changes.
        region: Whose prices hold.
        prices: By default those of this release.

    Raises:
        UnknownRegionError: If the table has none for the region.
    """
    prices = prices or read_prices()
    if region not in prices.regions:
        raise UnknownRegionError(region, prices.regions)
    listed = list(resources)
    named = {resource.address: resource.values for resource in listed}
    counter = _Counter(prices.regions[region], prices.usage, prices.hours_month, named)
    items: dict[tuple[str, bool], Item] = {}
    unpriced = set()
    for resource in listed:
        count = _PRICED.get(resource.kind)
        if count is None:
            unpriced |= set() if resource.kind in _FREE else {resource.kind}
            continue
        for what, usd, assumed in count(counter, resource):
            before = items.get((what, assumed), Item(what, (), 0.0, assumed))
            items[what, assumed] = Item(what, (*before.addresses, resource.address), before.usd + usd, assumed)
    return Estimate(tuple(sorted(items.values(), key=lambda item: -item.usd)), tuple(sorted(unpriced)), prices.eur_per_usd)


Lines = Iterable[tuple[str, float, bool]]


@dataclass(frozen=True, slots=True)
class _Counter:
    """Prices of a region at hand."""

    prices: Mapping[str, float]
    usage: Mapping[str, float]
    hours: float
    named: Mapping[str, Values]

    def tasks(self, resource: Resource) -> Lines:
        task = self.named.get(f"aws_ecs_task_definition.{resource.name}", {})
        cores, gb = float(task.get("cpu", "0")) / 1024, float(task.get("memory", "0")) / 1024
        hourly = cores * self.prices["fargate_vcpu_hour"] + gb * self.prices["fargate_gb_hour"]
        count = float(resource.values.get("desired_count") or 0)
        yield f"tasks of {resource.name}: {count:g} x {cores:g} cores, {gb:g} GB", count * hourly * self.hours, False
        # While a release is rolled out, old and new run side by side: a few minutes, not counted.

    def store(self, _resource: Resource) -> Lines:
        requests = self.usage["requests_thousand"] * self.prices["object_requests_thousand"]
        yield "objects in the store", self.usage["data_gb"] * self.prices["object_gb"] + requests, True

    def files(self, _resource: Resource) -> Lines:
        yield "files of the home", self.usage["home_gb"] * self.prices["file_gb"], True

    def images(self, _resource: Resource) -> Lines:
        yield "images", self.usage["images_gb"] * self.prices["image_gb"], True

    def logs(self, _resource: Resource) -> Lines:
        # The assumed gigabytes are a stack's, whatever the number of its groups.
        groups = sum(address.startswith("aws_cloudwatch_log_group.") for address in self.named)
        yield "logs", self.usage["logs_gb"] * self.prices["log_gb"] / max(groups, 1), True

    def balancer(self, resource: Resource) -> Lines:
        zones = len(resource.values.get("subnets") or ()) or 2
        yield "load balancer", self.prices["balancer_hour"] * self.hours, False
        yield "public addresses", zones * self.prices["address_hour"] * self.hours, False
        yield "requests of the load balancer", self.usage["balancer_units"] * self.prices["balancer_unit_hour"] * self.hours, True

    def way_out(self, _resource: Resource) -> Lines:
        yield "way out of the network", self.prices["nat_gateway_hour"] * self.hours, False
        yield "bytes on the way out", self.usage["way_out_gb"] * self.prices["nat_gateway_gb"], True

    def address(self, _resource: Resource) -> Lines:
        yield "public addresses", self.prices["address_hour"] * self.hours, False

    def database(self, resource: Resource) -> Lines:
        size = str(resource.values["instance_class"]).removeprefix("db.").replace(".", "_")
        copies = 2 if resource.values.get("multi_az") else 1
        yield "database", copies * self.prices[f"database_{size}_hour"] * self.hours, False
        yield "storage of the database", copies * float(resource.values["allocated_storage"]) * self.prices["database_gb"], False


def _each(price: str, what: str) -> Callable[[_Counter, Resource], Lines]:
    return lambda counter, _resource: [(what, counter.prices[price], False)]


_PRICED: Mapping[str, Callable[[_Counter, Resource], Lines]] = {
    "aws_cloudwatch_log_group": _Counter.logs,
    "aws_cloudwatch_log_metric_filter": _each("metric", "metrics made of logs"),
    "aws_cloudwatch_metric_alarm": _each("alarm", "alarms"),
    "aws_db_instance": _Counter.database,
    "aws_ecr_repository": _Counter.images,
    "aws_ecs_service": _Counter.tasks,
    "aws_efs_file_system": _Counter.files,
    "aws_eip": _Counter.address,
    "aws_kms_key": _each("key", "keys"),
    "aws_lb": _Counter.balancer,
    "aws_nat_gateway": _Counter.way_out,
    "aws_s3_bucket": _Counter.store,
    "aws_secretsmanager_secret": _each("secret", "secrets"),
    "aws_service_discovery_private_dns_namespace": _each("dns_zone", "names in the network"),
}

_FREE = frozenset(
    {
        "aws_budgets_budget",  # without actions
        "aws_db_parameter_group",
        "aws_db_subnet_group",
        "aws_default_security_group",
        "aws_ecr_lifecycle_policy",
        "aws_ecs_cluster",
        "aws_ecs_cluster_capacity_providers",
        "aws_ecs_task_definition",
        "aws_efs_access_point",
        "aws_efs_backup_policy",  # backups cost what they store; as little as the home
        "aws_efs_file_system_policy",
        "aws_efs_mount_target",
        "aws_flow_log",  # its bytes are in the logs
        "aws_iam_openid_connect_provider",
        "aws_iam_policy",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_internet_gateway",
        "aws_kms_alias",
        "aws_lb_listener",
        "aws_lb_listener_rule",
        "aws_lb_target_group",
        "aws_route",
        "aws_route_table",
        "aws_route_table_association",
        "aws_s3_account_public_access_block",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_logging",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_policy",
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_versioning",
        "aws_security_group",
        "aws_service_discovery_service",
        "aws_sns_topic",  # mails are free below a thousand
        "aws_sns_topic_subscription",
        "aws_ssm_parameter",  # of the standard tier
        "aws_subnet",
        "aws_vpc",
        "aws_vpc_endpoint",  # of the gateway type
        "aws_vpc_security_group_egress_rule",
        "aws_vpc_security_group_ingress_rule",
    }
)
