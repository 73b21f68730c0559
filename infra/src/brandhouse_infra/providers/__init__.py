"""Terraform providers in Python: the offline schema of AWS, and the local target. They speak Terraform's plugin protocol, version 6."""
