"""The rules of `brandhouse check` as data: what each asks, why, and how a brand is mended.

The reference page `docs/reference/check-rules.md` is generated from here. A rule's id never changes: people search for it.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
PAGE = "docs/reference/check-rules.md"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is asked of a brand.

    Attributes:
        severity: An error fails the check; a warning is shown.
        subject: Heading under which the reference lists it.
        asks: What holds in a good brand, one sentence.
        reason: Why this is asked, for someone who does not know the platform.
        fix: What to do, where the problem itself says nothing nearer.
    """

    id: str
    severity: Severity
    subject: str
    asks: str
    reason: str
    fix: str

    @property
    def docs(self) -> str:
        """The rule's place in the reference, relative to the workspace."""
        return f"{PAGE}#{self.id}"


_DECLARATION = "brand.toml"
_FILES = "The folder"
_CODE = "Code"
_DATA = "Data and secrets"

_ALL = (
    Rule(
        "brand-toml-readable",
        "error",
        _DECLARATION,
        "`brand.toml` exists and is a UTF-8 file of a sensible size.",
        "Everything the platform does for a brand starts from this file.",
        "write brand.toml, or remove the folder: only brands are kept in brands/",
    ),
    Rule(
        "toml-syntax",
        "error",
        _DECLARATION,
        "`brand.toml` is valid TOML.",
        "A file that cannot be parsed declares nothing, and nothing else can be checked.",
        "correct the line; texts are quoted, every key occurs once",
    ),
    Rule(
        "unknown-key",
        "error",
        _DECLARATION,
        "Every key is known.",
        "A misspelt key would silently leave the default in force.",
        "correct its name or remove it; docs/reference/brand-toml.md lists all keys",
    ),
    Rule(
        "missing-key",
        "error",
        _DECLARATION,
        "Every required key is there.",
        "The platform guesses nothing that only the brand can know.",
        "add the key; docs/reference/brand-toml.md says what it means",
    ),
    Rule(
        "wrong-value",
        "error",
        _DECLARATION,
        "Every value has the type and range of its key, and values fit each other.",
        "Training, serving and infrastructure are derived from these values without asking again.",
        "correct brand.toml; docs/reference/brand-toml.md lists its keys",
    ),
    Rule(
        "brand-name",
        "error",
        _DECLARATION,
        "The folder's name is an identifier and equals `name`.",
        "Keys, queues, paths and metrics of a brand are made of its name; two brands with one name would mix.",
        "make folder and name equal; lower-case letters, digits and underscores",
    ),
    Rule(
        "owner-address",
        "warning",
        _DECLARATION,
        "`owner` is an e-mail address or a GitHub name (`@user`, `@organisation/team`).",
        "The owner of a folder must approve its changes; code hosting knows people by these names only.",
        "write an address such as team@house.example or @house/team",
    ),
    Rule(
        "schedule-cron",
        "error",
        _DECLARATION,
        "A schedule is a cron expression of five fields that comes true some day.",
        "The server refuses another one, and the model would never be trained again.",
        "five fields, such as '0 4 * * 1'",
    ),
    Rule(
        "schedule-timezone",
        "error",
        _DECLARATION,
        "A schedule's time zone is in the IANA list.",
        "Without it the server cannot tell when the hour is.",
        "a name of the IANA list, such as 'Europe/Amsterdam'",
    ),
    Rule(
        "schedule-often",
        "warning",
        _DECLARATION,
        "A model is trained at most once an hour.",
        "Each run takes a place in the brand's queue and its share of the budget, whether the data changed or not.",
        "train less often",
    ),
    Rule(
        "schedule-clash",
        "warning",
        _DECLARATION,
        "Not more models of a brand start at the same minute than its queue runs at once.",
        "The others wait, and a late run may fall into the hours when people need the answer.",
        "move one of the schedules by half an hour",
    ),
    Rule(
        "schedule-without-data",
        "warning",
        _DECLARATION,
        "A model with a schedule belongs to a brand that gets new data.",
        "Training again on the same rows yields the same version, and is skipped each time.",
        "remove the schedule, or set capabilities.gets_new_data = true",
    ),
    Rule(
        "sensitive-risk",
        "error",
        _DECLARATION,
        'Sensitive fields come with `risk = "medium"` or `"high"`.',
        "A model that knows health, belief, origin and the like can do harm; the risk class decides who looks before it serves.",
        "raise risk, or leave the field out",
    ),
    Rule(
        "unused-input",
        "warning",
        _DECLARATION,
        "Every input field is read by `build_features` or reaches the estimator.",
        "A field that callers must send and nobody reads is a burden, and often a sign of a forgotten feature.",
        "remove the field from inputs, or use it",
    ),
    Rule(
        "project-file",
        "error",
        _FILES,
        "`pyproject.toml` exists and names the project `brand-<name>`.",
        "The brand's dependencies are locked and the lock's changes are traced by it.",
        "it holds a [project] table with the brand's name, version and dependencies; docs/brands.md shows one",
    ),
    Rule(
        "readme-missing",
        "warning",
        _FILES,
        "`README.md` exists and is not empty.",
        "Whoever is called about this brand starts here: what it predicts, from what, and whom to ask.",
        "write README.md: what is predicted, from which data, what to know before changing it",
    ),
    Rule(
        "tests-missing",
        "warning",
        _FILES,
        "`tests/` holds at least one test.",
        "A change of the platform or of a library is tried on the brand's own tests before it reaches the brand.",
        "write tests/test_<model>.py; one test of one feature is a good beginning",
    ),
    Rule(
        "merge-leftover",
        "error",
        _FILES,
        "No file holds conflict markers, and no rejected part of a merge is left.",
        "Half of the change is missing, and nobody has decided which half.",
        "decide which lines stay, remove the markers and the .rej and .orig files",
    ),
    Rule(
        "python-syntax",
        "error",
        _CODE,
        "Every Python file of the brand can be parsed.",
        "It cannot be imported, neither in training nor in the tests.",
        "correct the syntax",
    ),
    Rule(
        "import-forbidden",
        "error",
        _CODE,
        "A brand imports itself, `brandhouse_shared` and its declared dependencies; neither another brand nor the platform.",
        "A change of one brand must never reach another, and the platform must be free to change.",
        "a brand may import its own package, brandhouse_shared and its declared dependencies",
    ),
    Rule(
        "import-undeclared",
        "warning",
        _CODE,
        "Every imported package is among the dependencies in `pyproject.toml`.",
        "It is there only because others need it; once they do not, the next training fails.",
        "add it to dependencies in pyproject.toml and run `make lock`",
    ),
    Rule(
        "code-loads",
        "error",
        _CODE,
        "Each model's entry point can be imported and defines `build_features` and `build_estimator`.",
        "These two functions are what the platform trains and serves.",
        "correct the code, or the entry point in brand.toml",
    ),
    Rule(
        "estimator-builds",
        "error",
        _CODE,
        "`build_estimator` takes the declared params and every searched one, and returns an estimator.",
        "A training would fail after its data were fetched and split.",
        "correct build_estimator, or params and space in brand.toml",
    ),
    Rule(
        "features-build",
        "error",
        _CODE,
        "`build_features` returns numbers and texts, one row per row, for rows that the input schema allows.",
        "The same function answers requests: what it cannot take, the API cannot answer.",
        "correct build_features, or the input schema in brand.toml",
    ),
    Rule(
        "pointer-missing",
        "error",
        _DATA,
        "Each dataset has its pointer `data/<file>.dvc` with hash and size.",
        "The pointer says which bytes a version was trained on; without it no number can be reproduced.",
        "run `brandhouse ingest BRAND --accept-new` and commit the pointer",
    ),
    Rule(
        "data-package-pinned",
        "error",
        _DATA,
        "The package that carries a table is pinned with `==`.",
        "Another release may carry other bytes, and another machine would refuse its pointer.",
        "pin the package in pyproject.toml, such as name==1.2.3",
    ),
    Rule(
        "table-in-git",
        "error",
        _DATA,
        "Git tracks neither tables nor models nor other large files of a brand.",
        "Git keeps them for ever, for everyone who may read the repository; DVC can forget them, and Git cannot.",
        "run `git rm --cached FILE`; a table belongs to DVC, a model to the artifact store",
    ),
    Rule(
        "notebook-outputs",
        "error",
        _DATA,
        "Notebooks are kept without outputs.",
        "Outputs hold rows of the data, and make every run look like a change.",
        "run `brandhouse notebook clean BRAND`, or once `brandhouse notebook filter`, which keeps outputs out of Git",
    ),
    Rule(
        "secret-in-file",
        "error",
        _DATA,
        "No file holds a password, key or token.",
        "Everyone who may read the repository could use it, also after it is removed: history keeps it.",
        "revoke it, remove it, and hand the new one over as BRANDHOUSE_SECRET_<BRAND>_<NAME>",
    ),
)

RULES = {rule.id: rule for rule in _ALL}
"""Every rule by its id, in the order of the reference."""
