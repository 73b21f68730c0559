"""When the cloud itself tells that something of a brand is wrong. Drift and quality are the monitor's, not the cloud's."""

from typing import Any

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.constructs.logs import log_group
from brandhouse_infra.site import BrandPlace, Place

NAMESPACE = "Brandhouse"


def add_alarms(blocks: Blocks, place: BrandPlace) -> None:
    """Add alarms of errors in the logs; of a silo brand also of its tasks and its answers."""
    for process in ("serving", "worker"):
        _add_log_alarm(blocks, place, process)
    if place.is_silo:
        _add_silo_alarms(blocks, place)


def add_alarm(blocks: Blocks, place: Place, name: str, description: str, **arguments: Any) -> None:
    """Add an alarm that tells the platform's topic when it begins and when it ends."""
    topic = place.arn("sns", f"{place.platform.dashed}-alerts")
    usual = {"period": 300, "evaluation_periods": 3, "statistic": "Sum", "comparison_operator": "GreaterThanThreshold"}
    blocks.resource(
        "aws_cloudwatch_metric_alarm",
        name,
        tagged=True,
        alarm_name=f"{place.path}/{name}",
        alarm_description=description,
        alarm_actions=[topic],
        ok_actions=[topic],
        **{**usual, "treat_missing_data": "notBreaching", **arguments},
    )


def _add_log_alarm(blocks: Blocks, place: BrandPlace, process: str) -> None:
    metric = f"{process}-errors"
    blocks.resource(
        "aws_cloudwatch_log_metric_filter",
        metric,
        name=f"{place.dashed}-{metric}",
        log_group_name=f"${{aws_cloudwatch_log_group.{process}.name}}",
        pattern="?ERROR ?CRITICAL ?Traceback",
        metric_transformation={"name": f"{place.tenant}-{metric}", "namespace": NAMESPACE, "value": "1"},
    )
    text = f"More than 5 errors in 15 minutes in {log_group(place, process)}"
    add_alarm(blocks, place, metric, text, namespace=NAMESPACE, metric_name=f"{place.tenant}-{metric}", threshold=5)


def _add_silo_alarms(blocks: Blocks, place: BrandPlace) -> None:
    for service in ("gateway", "worker"):
        of_service = {"ClusterName": place.dashed, "ServiceName": service}
        add_alarm(
            blocks,
            place,
            f"{service}-memory",
            f"The tasks of {service} are near the end of their memory",
            namespace="AWS/ECS",
            metric_name="MemoryUtilization",
            dimensions=of_service,
            statistic="Maximum",
            threshold=90,
        )
    balanced = {
        "LoadBalancer": "${data.aws_ssm_parameter.balancer.insecure_value}",
        "TargetGroup": "${aws_lb_target_group.gateway.arn_suffix}",
    }
    add_alarm(
        blocks,
        place,
        "failing-answers",
        "More than 10 answers in 15 minutes were 5xx",
        namespace="AWS/ApplicationELB",
        metric_name="HTTPCode_Target_5XX_Count",
        dimensions=balanced,
        threshold=10,
    )
