"""What an erasure leaves to be shown: what was looked at, what was removed, hashes before and after, what could not be reached.

JSON for machines, Markdown for people; neither names the person. The digest is keyed with the brand's secret.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from brandhouse_aftercare.erasure_intents import PRIVATE_FILE, erasure_folder
from brandhouse_flows.content import write_whole


@dataclass(frozen=True, slots=True)
class Certificate:
    """One erasure that ended.

    Attributes:
        digest: Of the person.
        counts: What was found and is gone.
        snapshots: Each `dataset`, `before`, `after`.
        versions: That learned from the rows; each is marked.
        retrained: Models whose training was asked for.
        pointers: What came of committing the changed pointers.
        unreached: Each `what` and `why`.
    """

    brand: str
    digest: str
    begun_at: str
    ended_at: str
    actor: str
    counts: dict[str, int]
    snapshots: list[dict[str, str | None]]
    versions: list[str]
    retrained: list[str]
    pointers: str
    unreached: list[dict[str, str]]

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def write_certificate(home: Path, certificate: Certificate, now: datetime) -> Path:
    """Write both forms into the brand's folder, readable by the platform's user only; return the path of the Markdown."""
    base = erasure_folder(home, certificate.brand) / f"{now:%Y%m%dT%H%M%S}-{certificate.digest[:12]}"
    for path, text in (
        (base.with_suffix(".json"), json.dumps(certificate.as_document(), indent=1)),
        (base.with_suffix(".md"), render(certificate)),
    ):
        write_whole(path, text + "\n")
        path.chmod(PRIVATE_FILE)
    return base.with_suffix(".md")


def render(certificate: Certificate) -> str:
    """The certificate as Markdown."""
    snapshots = [f"| {one['dataset']} | `{one['before']}` | {_after(one['after'])} |" for one in certificate.snapshots]
    return "\n".join(
        [
            f"# Erasure of a person's data: {certificate.brand}",
            "",
            f"Begun {certificate.begun_at}, ended {certificate.ended_at}, by {certificate.actor}.",
            f"The person is not named here; their keyed digest is `{certificate.digest}`.",
            "The search was repeated at the end and found nothing.",
            "",
            "| what | number |",
            "|---|---|",
            *(f"| {name} | {count} |" for name, count in certificate.counts.items()),
            "",
            "## Snapshots",
            "",
            *(["| dataset | erased | instead |", "|---|---|---|", *snapshots] if snapshots else ["None held rows of the person."]),
            "",
            f"Removed from the brand's folder, cache, kept copies and remote, with all versions there. Pointers: {certificate.pointers}.",
            "Git's history holds hashes and sizes of the erased snapshots, no rows.",
            "",
            "## Models",
            "",
            *(
                [f"- {version} learned from the rows and is marked so" for version in certificate.versions]
                or ["None learned from the rows."]
            ),
            *(f"- {model} is to be trained again" for model in certificate.retrained),
            "",
            "## Not reached",
            "",
            *(f"- {one['what']}: {one['why']}" for one in certificate.unreached),
            "- feature statistics and scores in the ledger: aggregates over all rows; they were not changed",
            "- files of trials: counts, and ids of some predictions, which lead to nothing once these are erased; they were not changed",
        ]
    )


def _after(hash_md5: str | None) -> str:
    return f"`{hash_md5}`" if hash_md5 else "nothing: no row was left"
