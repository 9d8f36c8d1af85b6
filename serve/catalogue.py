"""The catalogue of this program: every module under the packages of operations."""

from functools import cache

from pipelines.jobs.catalogue import Catalogue, operation_modules

OPERATION_PACKAGES = ("pipelines.jobs.operations", "pipelines.bulk.operations")


@cache
def catalogue() -> Catalogue:
    return Catalogue.load([module for package in OPERATION_PACKAGES for module in operation_modules(package)])
