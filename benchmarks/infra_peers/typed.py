"""As many resources a brand as ours has, through the typed classes of cdktn or cdktf: `typed.py BRANDS RESOURCES FOLDER LIBRARY`.

Needs nothing of Brandhouse: it runs in the peer's own environment.
"""

import importlib
import sys


def main(brands: int, resources: int, folder: str, library: str) -> None:
    core = importlib.import_module(library)
    provider = {"cdktn": "cdktn_provider_aws", "cdktf": "cdktf_cdktf_provider_aws"}[library]
    found = {
        name: importlib.import_module(f"{provider}.{name}")
        for name in ("provider", "s3_bucket", "s3_bucket_versioning", "iam_role", "kms_key")
    }
    app = core.App(outdir=folder)
    for number in range(brands):
        stack = core.TerraformStack(app, f"brand{number}")
        found["provider"].AwsProvider(stack, "aws", region="eu-central-1")
        tags = {"brand": f"brand{number}", "environment": "production"}
        for index in range(resources):
            name = f"{number}-{index}"
            if index % 4 == 0:
                found["s3_bucket"].S3Bucket(stack, name, bucket=name, tags=tags)
            elif index % 4 == 1:
                status = found["s3_bucket_versioning"].S3BucketVersioningVersioningConfiguration(status="Enabled")
                found["s3_bucket_versioning"].S3BucketVersioningA(stack, name, bucket=name, versioning_configuration=status)
            elif index % 4 == 2:
                found["iam_role"].IamRole(stack, name, name=name, assume_role_policy="{}", tags=tags)
            else:
                found["kms_key"].KmsKey(stack, name, description=name, enable_key_rotation=True, tags=tags)
    app.synth()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
