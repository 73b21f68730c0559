"""Two snapshots of one dataset, fetched and compared."""

from dataclasses import dataclass

from brandhouse_flows.comparison import Comparison, compare_tables
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.datasets import read_table
from brandhouse_flows.disclosure import column_rules
from brandhouse_shared.brands import Brand
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Sought:
    """How two snapshots are to be compared.

    Attributes:
        key: Column that identifies a row; None: found by its name and values, if there is one.
        show_undeclared: Whether values of columns that no model declares may be shown.
    """

    key: str | None = None
    show_undeclared: bool = False


def compare_snapshots(settings: Settings, brand: Brand, dataset: str, before: str, after: str, sought: Sought | None = None) -> Comparison:
    """Compare two snapshots by their hashes. Both are read as the dataset is declared today.

    Raises:
        DatasetError: If a snapshot cannot be fetched or read, or the key does not identify rows.
    """
    sought = sought or Sought()
    project, declared = DataProject(brand, settings), brand.config.datasets[dataset]
    first, second = (read_table(declared, project.fetch(dataset, one)) for one in (before, after))
    columns = dict.fromkeys([*second.columns, *first.columns])
    rules = column_rules(brand.config, dataset, columns, show_undeclared=sought.show_undeclared)
    return compare_tables(first, second, rules, key=sought.key, subject=f"{brand.name}/{dataset}")
