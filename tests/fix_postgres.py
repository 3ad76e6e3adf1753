"""A PostgreSQL for the tests: one cluster for the session, a database for each test, a cluster of one's own on request.

PGCAST_TEST_POSTGRES chooses the version: 16 or 18 of the wheel, or a folder that has `bin/postgres`. Tests of what some
versions cannot do carry the marker `postgres`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from pgcast.devdb.binaries import DEFAULT_MAJOR, Binaries, binaries_in, find_binaries
from pgcast.devdb.cluster import Auth, Cluster, Setting
from pgcast.devdb.template import Database, Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class ClusterFactory(Protocol):
    """Start a cluster for one test, which may restart, kill and reconfigure it."""

    def __call__(
        self, *, settings: Mapping[str, Setting] | None = None, auth: Auth = "password", cached: bool = True
    ) -> Cluster: ...


@pytest.fixture(scope="session")
def postgres_binaries() -> Binaries:
    chosen = os.environ.get("PGCAST_TEST_POSTGRES", str(DEFAULT_MAJOR))
    return find_binaries(int(chosen)) if chosen.isdecimal() else binaries_in(Path(chosen))


@pytest.fixture(autouse=True)
def _only_where_possible(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `postgres(first, last=..., why=...)` on the versions that cannot do what it is about."""
    for marker in request.node.iter_markers("postgres"):
        (first,) = marker.args
        version = request.getfixturevalue("postgres_version")
        if not first <= version <= marker.kwargs.get("last", version):
            pytest.skip(f"PostgreSQL {version}: {marker.kwargs['why']}")


@pytest.fixture(scope="session")
def psql() -> tuple[Path, Mapping[str, str]]:
    """Where psql is, and its environment: the wheel's, for other folders may have none."""
    binaries = find_binaries()
    return binaries.program("psql"), binaries.environment()


@pytest.fixture(scope="session")
def cluster(postgres_binaries: Binaries) -> Iterator[Cluster]:
    """The session's cluster: never stopped, and its settings never changed, by a test."""
    with Cluster(postgres_binaries, durable=False, cached=True) as running:
        yield running


@pytest.fixture(scope="session")
def postgres_version(cluster: Cluster) -> int:
    """The major version, for example 18."""
    with cluster.connect() as connection:
        return connection.info.server_version // 10_000


@pytest.fixture(scope="session")
def empty_template(cluster: Cluster) -> Template:
    return Template.create(cluster)


@pytest.fixture
def database(empty_template: Template) -> Iterator[Database]:
    """A fresh database; it and its slots are dropped afterwards, whatever is still connected."""
    made = empty_template.copy()
    try:
        yield made
    finally:
        made.drop()


@pytest.fixture
def own_cluster(postgres_binaries: Binaries) -> Iterator[ClusterFactory]:
    """A factory of clusters for this test alone; `cached=False` gives one with a system identifier of its own."""
    made: list[Cluster] = []

    def start(
        *, settings: Mapping[str, Setting] | None = None, auth: Auth = "password", cached: bool = True
    ) -> Cluster:
        one = Cluster(postgres_binaries, settings=settings, auth=auth, durable=False, cached=cached)
        made.append(one)
        one.start()
        return one

    try:
        yield start
    finally:
        for one in made:
            one.remove()
