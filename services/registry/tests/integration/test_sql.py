"""The ports on SQL are what the fakes are: the same steps give the same events and leave the same behind."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_bus.sql import Database
from millrace_kernel.errors import PermanentError
from millrace_registry.adapters.sql import SqlPipelines, SqlVersions
from millrace_registry.bootstrap import MIGRATIONS

VERSIONS = st.integers(0, 6)
TRAINED = st.fixed_dictionaries(
    {"number": st.integers(1, 9), "mae": st.sampled_from([50.0, 120.0])}
)
STEPS = st.one_of(
    st.tuples(st.just("train"), TRAINED),
    st.tuples(st.just("train"), TRAINED),
    st.tuples(
        st.sampled_from(["approve", "reject", "roll_back"]),
        st.fixed_dictionaries({"version": VERSIONS}),
    ),
    st.tuples(st.just("pause"), st.fixed_dictionaries({"paused": st.booleans()})),
    st.tuples(st.just("fail"), st.fixed_dictionaries({"version": VERSIONS, "epoch": VERSIONS})),
    st.tuples(
        st.just("compare"),
        st.fixed_dictionaries({"verdict": st.sampled_from(["undecided", "better", "worse"])}),
    ),
)


@pytest.fixture
def sql_world(world_class):
    """A world whose every step is a transaction of its own, as it is on the bus."""

    class SqlWorld(world_class):
        database: Database

        def step(self, name, **given_):
            with self.database.transaction() as connection:
                self.pipelines, self.versions = SqlPipelines(connection), SqlVersions(connection)
                return super().step(name, **given_)

        def settle(self):
            with self.database.transaction() as connection:
                self.pipelines, self.versions = SqlPipelines(connection), SqlVersions(connection)
                return self.models

    def make(database):
        made = SqlWorld()
        made.database = database
        return made

    return make


def outcome(world, name, given_):
    try:
        return world.step(name, **given_)
    except PermanentError as error:
        return str(error)


@given(
    steps=st.lists(STEPS, min_size=1, max_size=15),
    strategy=st.sampled_from(["direct", "manual", "shadow", "canary"]),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_sql_remembers_as_the_fakes_do(
    tmp_path, world_class, sql_world, file, counter, steps, strategy
):
    database = Database(f"sqlite:///{tmp_path / f'{next(counter)}.db'}")
    database.migrate(MIGRATIONS)
    real, fake = sql_world(database), world_class()

    for name, given_ in [("apply", {"file": file(strategy=strategy)}), *steps]:
        assert outcome(real, name, given_) == outcome(fake, name, given_)
        assert real.settle() == fake.models
    for version in fake.models.stages:
        with database.transaction() as connection:
            versions = SqlVersions(connection)
            assert versions.model("bikes", version) == fake.versions.model("bikes", version)
            assert versions.verdicts("bikes", version) == fake.versions.verdicts("bikes", version)
    database.close()


@pytest.fixture
def counter():
    return itertools.count()


def test_every_kind_of_step_on_either_database(database, sql_world, world_class, file):
    """The same on PostgreSQL, with a story that meets every statement."""
    story = [
        ("apply", {"file": file()}),
        ("apply", {"file": file(strategy="manual")}),
        ("train", {"number": 1}),
        ("approve", {}),
        ("train", {"number": 2}),
        ("train", {"number": 3, "mae": 120.0}),
        ("reject", {}),
        ("approve", {"version": 2}),
        ("pause", {}),
        ("roll_back", {}),
        ("approve", {"version": 3}),
        ("pause", {"paused": False}),
        ("approve", {"version": 3}),
        ("fail", {"version": 3, "epoch": 4}),
        ("train", {"number": 1}),
        ("apply", {"file": file(strategy="canary")}),
        ("train", {"number": 4}),
        ("train", {"number": 5}),
        ("compare", {"verdict": "better"}),
        ("compare", {"verdict": "better", "step": 0}),
        ("compare", {"verdict": "worse"}),
        ("fail", {"version": 5, "epoch": 5, "trial": 2}),
        ("train", {"number": 6}),
        ("reject", {"version": 6}),
    ]
    real, fake = sql_world(database), world_class()

    for name, given_ in story:
        assert outcome(real, name, given_) == outcome(fake, name, given_)
        assert real.settle() == fake.models
