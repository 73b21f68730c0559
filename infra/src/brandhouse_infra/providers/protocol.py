"""The messages of Terraform's plugin protocol 6, as far as a provider of ours sends or reads them.

Declared here by number, name and type and turned into classes when first asked for: no generated code, no compiler.
What is a map on the wire is a list of entries here, and an enumeration is a number; the bytes are the same.
"""

import functools
from typing import Any

SERVICE = "tfplugin6.Provider"

ERROR, WARNING = 1, 2
"""Severities of a diagnostic."""

SINGLE, LIST, SET = 1, 2, 3
"""How a nested block may stand: at most once, in a list, in a set."""

_MESSAGES = {
    "Empty": "",
    "DynamicValue": "1 msgpack bytes, 2 json bytes",
    "Step": "1 attribute_name string, 2 element_key_string string, 3 element_key_int int64",
    "AttributePath": "1 steps Step*",
    "Diagnostic": "1 severity int32, 2 summary string, 3 detail string, 4 attribute AttributePath",
    "RawState": "1 json bytes",
    "Attribute": "1 name string, 2 type bytes, 4 required bool, 5 optional bool, 6 computed bool, 7 sensitive bool, 10 nested_type Object",
    "Object": "1 attributes Attribute*, 3 nesting int32",
    "Block": "1 version int64, 2 attributes Attribute*, 3 block_types NestedBlock*",
    "NestedBlock": "1 type_name string, 2 block Block, 3 nesting int32, 4 min_items int64, 5 max_items int64",
    "Schema": "1 version int64, 2 block Block",
    "SchemaEntry": "1 key string, 2 value Schema",
    "ServerCapabilities": "1 plan_destroy bool, 2 get_provider_schema_optional bool",
    "Schemas": "1 provider Schema, 2 resource_schemas SchemaEntry*, 3 data_source_schemas SchemaEntry*, 4 diagnostics Diagnostic*, "
    "5 provider_meta Schema, 6 server_capabilities ServerCapabilities",
    "ProviderConfig": "1 config DynamicValue",
    "ProviderConfigChecked": "2 diagnostics Diagnostic*",
    "Config": "1 type_name string, 2 config DynamicValue",
    "Checked": "1 diagnostics Diagnostic*",
    "Upgrade": "1 type_name string, 2 version int64, 3 raw_state RawState",
    "Upgraded": "1 upgraded_state DynamicValue, 2 diagnostics Diagnostic*",
    "Configure": "1 terraform_version string, 2 config DynamicValue",
    "Read": "1 type_name string, 2 current_state DynamicValue, 3 private bytes",
    "WasRead": "1 new_state DynamicValue, 2 diagnostics Diagnostic*, 3 private bytes",
    "Plan": "1 type_name string, 2 prior_state DynamicValue, 3 proposed_new_state DynamicValue, 4 config DynamicValue, "
    "5 prior_private bytes",
    "Planned": "1 planned_state DynamicValue, 2 requires_replace AttributePath*, 3 planned_private bytes, 4 diagnostics Diagnostic*",
    "Apply": "1 type_name string, 2 prior_state DynamicValue, 3 planned_state DynamicValue, 4 config DynamicValue, 5 planned_private bytes",
    "Applied": "1 new_state DynamicValue, 2 private bytes, 3 diagnostics Diagnostic*",
    "Import": "1 type_name string, 2 id string",
    "ImportedResource": "1 type_name string, 2 state DynamicValue, 3 private bytes",
    "Imported": "1 imported_resources ImportedResource*, 2 diagnostics Diagnostic*",
    "ReadData": "1 type_name string, 2 config DynamicValue",
    "DataRead": "1 state DynamicValue, 2 diagnostics Diagnostic*",
    "Stopped": "1 error string",
}

METHODS = {
    "GetProviderSchema": ("Empty", "Schemas"),
    "ValidateProviderConfig": ("ProviderConfig", "ProviderConfigChecked"),
    "ValidateResourceConfig": ("Config", "Checked"),
    "ValidateDataResourceConfig": ("Config", "Checked"),
    "UpgradeResourceState": ("Upgrade", "Upgraded"),
    "ConfigureProvider": ("Configure", "Checked"),
    "ReadResource": ("Read", "WasRead"),
    "PlanResourceChange": ("Plan", "Planned"),
    "ApplyResourceChange": ("Apply", "Applied"),
    "ImportResourceState": ("Import", "Imported"),
    "ReadDataSource": ("ReadData", "DataRead"),
    "StopProvider": ("Empty", "Stopped"),
}
"""Calls by name, with what they take and give. Terraform puts up with the absence of all others."""


@functools.cache
def messages() -> dict[str, Any]:
    """The classes of all messages, by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="brandhouse/plugin.proto", package="brandhouse.plugin", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declared in filter(None, fields.split(", ")):
            _declare(message, *declared.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in _MESSAGES}


def _declare(message: Any, number: str, name: str, kind: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    plain = {
        "bytes": Field.TYPE_BYTES,
        "string": Field.TYPE_STRING,
        "bool": Field.TYPE_BOOL,
        "int32": Field.TYPE_INT32,
        "int64": Field.TYPE_INT64,
    }
    field = message.field.add(name=name, number=int(number))
    field.label = Field.LABEL_REPEATED if kind.endswith("*") else Field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind in plain:
        field.type = plain[kind]
    else:
        field.type, field.type_name = Field.TYPE_MESSAGE, f".brandhouse.plugin.{kind}"
