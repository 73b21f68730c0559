"""Prefect flow templates, the warm worker that runs them, and the data projects of the brands.

The only place for Prefect and DVC. What a template does is plain Python (`learning`); Prefect wraps each step.
"""
