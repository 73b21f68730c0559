"""One Terraform stack per brand and environment, and the shared platform under them. Everything comes from `brand.toml`."""
