"""What the constructs of one stack need to know: names, ARNs and tags. All are known before anything exists.

Names that policies match by a pattern hold the brand between two slashes: `.../auto/*` does not match `.../auto_deals/x`,
while `...-auto-*` would match `...-auto-deals-x`. Everything else is named in policies exactly.
"""

from dataclasses import dataclass

from brandhouse_infra.environments import Environment
from brandhouse_shared.config import BrandConfig, Isolation
from brandhouse_shared.slugs import slug_of

HOUSE = "brandhouse"
PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Place:
    """One tenant of one environment: a brand, or the platform itself.

    Attributes:
        environment: Where.
        slug: The tenant's name as clouds allow it: lower-case letters, digits, single hyphens.
        owner: Who answers for it.
        tenant: The tenant's own name.
        cost_center: Who pays.
    """

    environment: Environment
    slug: str
    owner: str
    tenant: str
    cost_center: str

    @property
    def dashed(self) -> str:
        """`brandhouse-production-autoplein`, for names that must be exact."""
        return f"{HOUSE}-{self.environment.name}-{self.slug}"

    @property
    def path(self) -> str:
        """`brandhouse/production/autoplein`, for names that policies match by prefix."""
        return f"{HOUSE}/{self.environment.name}/{self.slug}"

    @property
    def bucket(self) -> str:
        """Name of the tenant's bucket; with the account, since bucket names are unique in the world."""
        return f"{self.dashed}-{self.environment.account}"

    @property
    def key_alias(self) -> str:
        """Alias of the tenant's own key."""
        return f"alias/{self.path}"

    @property
    def tags(self) -> dict[str, str]:
        """Cost-allocation tags of everything in the stack."""
        return {
            "brand": self.tenant,
            "cost-center": self.cost_center,
            "environment": self.environment.name,
            "house": HOUSE,
            "managed-by": "terraform",
            "owner": self.owner,
        }

    def arn(self, service: str, resource: str) -> str:
        """ARN of something in the environment's account and region."""
        return f"arn:aws:{service}:{self.environment.region}:{self.environment.account}:{resource}"

    def role_name(self, kind: str) -> str:
        """Name of a role; names are unique in an account, whatever their path."""
        return f"{self.dashed}-{kind}"

    def role_arn(self, kind: str) -> str:
        """ARN of a role of this tenant."""
        return f"arn:aws:iam::{self.environment.account}:role/{self.path}/{self.role_name(kind)}"

    @property
    def boundary_arn(self) -> str:
        """ARN of the policy that bounds all roles of this tenant."""
        return f"arn:aws:iam::{self.environment.account}:policy/{self.path}/{self.role_name('boundary')}"

    @property
    def bucket_arn(self) -> str:
        """ARN of the tenant's bucket."""
        return f"arn:aws:s3:::{self.bucket}"

    def parameter(self, name: str) -> str:
        """Name of a parameter that this tenant publishes."""
        return f"/{self.path}/{name}"

    @property
    def platform(self) -> "Place":
        """The platform of the same environment."""
        return platform_place(self.environment)


@dataclass(frozen=True, slots=True)
class BrandPlace(Place):
    """A brand in an environment."""

    config: BrandConfig

    @property
    def is_silo(self) -> bool:
        """Whether it has serving and worker of its own."""
        return self.config.isolation is Isolation.SILO


def platform_place(environment: Environment) -> Place:
    """The place of what all brands share."""
    return Place(environment, PLATFORM, environment.alerts_email, PLATFORM, PLATFORM)


def brand_place(config: BrandConfig, environment: Environment) -> BrandPlace:
    """The place of a brand."""
    cost_center = config.infra.cost_center or config.name
    return BrandPlace(environment, slug_of(config.name), config.owner, config.name, cost_center, config)
