"""The provider of the local target: buckets and users of an S3-compatible store, roles and schemas of PostgreSQL. Really made."""
