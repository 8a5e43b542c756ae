"""Problem families and files: one module a family, one registry, one place that builds models."""
