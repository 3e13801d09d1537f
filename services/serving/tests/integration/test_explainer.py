"""Explanations by real processes: the model's own library in them, and what happens when they are lost."""

import asyncio
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from millrace_artifacts.artifact import (
    Artifact,
    Learnt,
    Model,
    Native,
    NativeFormat,
    Parity,
    write_artifact,
)
from millrace_artifacts.keys import TrustedKeys, local_key
from millrace_artifacts.seal import Statement, Vault, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters.explainer import ExplainerPool
from millrace_serving.domain.columns import Columns, Rows
from millrace_testkit.eventually import eventually, running

COLUMNS = Columns(("temp", "hum"), ("weather",))


def boosted() -> tuple[xgboost.Booster, bytes]:
    """hired grows with temp, and rain keeps them at home."""
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(300, 3)).astype(np.float32)
    matrix[:, 2] = generator.integers(0, 2, 300)
    labels = 10 * matrix[:, 0] - 5 * matrix[:, 2]
    booster = xgboost.train(
        {"max_depth": 3, "nthread": 1}, xgboost.DMatrix(matrix, labels, nthread=1), 10
    )
    signature = Signature(
        "bikes", 1, *(COLUMNS.numbers, COLUMNS.categories), (("sun", "rain"),),
        Encoding.ORDINAL, LabelKind.REGRESSION, (),
    )  # fmt: skip
    native = Native(NativeFormat.UBJ, bytes(booster.save_raw("ubj")))
    model = Model(signature, Parity(1.0, 1e-4, 10), None, native)
    learnt = Learnt(300, 1, 2, 10, 1)
    return booster, write_artifact(Artifact("xgboost", "{}", model, None, {}, learnt, {}, ()))


class CountedVault(Vault):
    opened = 0

    def open(self, uri, statement, seal):
        type(self).opened += 1
        return super().open(uri, statement, seal)


class Shop:
    """A vault with one sealed model in it."""

    def __init__(self, folder, champion):
        self.store = ObjectStore(f"file://{folder}")
        self.key = local_key(folder / "keys")
        self.vault = CountedVault(self.store, TrustedKeys([folder / "keys" / "trusted"]))
        CountedVault.opened = 0
        self._champion = champion

    def champion(self, content, version=1):
        stored = self.store.put(f"v{version}.zip", content)
        champion = replace(
            self._champion(version, version),
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
        )
        statement = Statement(
            champion.pipeline, champion.pipeline_version, champion.run_id, stored.sha256
        )
        seal = sealed(statement, self.key)
        return replace(champion, artifact_signature=seal.signature, signing_key_id=seal.key_id)

    def pool(self, **changes):
        return ExplainerPool(
            self.vault, **{"processes": 1, "waiting": 2, "seconds": 120.0, **changes}
        )


@pytest.fixture(scope="module")
def model():
    return boosted()


@pytest.fixture
def shop(tmp_path, make_champion):
    return Shop(tmp_path, make_champion)


def rows(*temps: float) -> Rows:
    numbers = np.array([[temp, np.nan] for temp in temps])
    return Rows(COLUMNS, numbers, [("rain",)] * len(temps))


async def test_shares_add_up_to_the_answer_and_the_process_keeps_the_model(shop, model):
    booster, content = model
    champion, pool = shop.champion(content), shop.pool()

    async with running(pool):
        first = await pool.explain(champion, rows(0.5, -1.0))
        second = await pool.explain(champion, rows(0.5, -1.0))

    wanted = booster.inplace_predict(np.array([[0.5, np.nan, 1.0], [-1.0, np.nan, 1.0]]))
    assert first.space == "value"
    np.testing.assert_allclose(
        first.base + first.contributions.sum(axis=1)[:, 0], wanted, rtol=1e-5
    )
    np.testing.assert_array_equal(first.contributions, second.contributions)
    assert CountedVault.opened == 1
    assert pool.processes == 0


async def test_what_is_wrong_with_the_model_is_told_and_the_process_goes_on(shop, model):
    champion, broken = shop.champion(model[1]), shop.champion(b"no zip", version=2)
    unsigned = replace(champion, artifact_sha256="0" * 64)
    pool = shop.pool()

    async with running(pool):
        with pytest.raises(PermanentError, match="not a readable zip"):
            await pool.explain(broken, rows(1.0))
        with pytest.raises(PermanentError, match="was changed after signing"):
            await pool.explain(unsigned, rows(1.0))
        assert (await pool.explain(champion, rows(1.0))).space == "value"
        assert pool.processes == 1


async def test_more_than_may_wait_are_refused_and_the_loop_goes_on(shop, model):
    champion, pool = shop.champion(model[1]), shop.pool()

    async with running(pool):
        asked = [asyncio.ensure_future(pool.explain(champion, rows(1.0))) for _ in range(3)]
        await asyncio.sleep(0)  # they have asked: one is being answered, two wait
        with pytest.raises(TransientError, match="waited for already"):
            await pool.explain(champion, rows(1.0))
        assert not any(one.done() for one in asked)
        assert len(await asyncio.gather(*asked)) == 3
        assert (await pool.explain(champion, rows(1.0))).space == "value"


async def test_a_process_that_was_killed_is_replaced(shop, model):
    champion, pool = shop.champion(model[1]), shop.pool()

    async with running(pool):
        await pool.explain(champion, rows(1.0))
        [process] = pool._all
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        with pytest.raises(TransientError, match="was lost"):
            await pool.explain(champion, rows(1.0))
        assert (await pool.explain(champion, rows(1.0))).space == "value"


async def test_a_model_that_ends_processes_is_given_up_and_others_are_explained(shop, model):
    champion = shop.champion(model[1])
    pool = shop.pool(child="this")  # prints, and is no reply; then it ends

    async with running(pool):
        for _ in range(3):
            with pytest.raises(TransientError, match="was lost"):
                await pool.explain(champion, rows(1.0))
        with pytest.raises(PermanentError, match="has ended 3 processes"):
            await pool.explain(champion, rows(1.0))
        assert pool.processes == 0


async def test_one_that_takes_too_long_is_ended(shop, model):
    champion, pool = shop.champion(model[1]), shop.pool(seconds=0.01)  # less than it takes to start

    async with running(pool):
        with pytest.raises(TransientError, match="longer than"):
            await pool.explain(champion, rows(1.0))
        assert pool.processes == 0


async def test_a_request_that_is_given_up_leaves_no_answer_for_the_next(shop, model):
    booster, content = model
    champion, pool = shop.champion(content), shop.pool()

    async with running(pool):
        await pool.explain(champion, rows(1.0))
        given_up = asyncio.ensure_future(pool.explain(champion, rows(*[2.0] * 100)))
        await asyncio.sleep(0.001)
        given_up.cancel()
        found = await pool.explain(champion, rows(3.0))

    [wanted] = booster.inplace_predict(np.array([[3.0, np.nan, 1.0]]))
    assert found.contributions.shape == (1, 3, 1)
    assert found.base[0] + found.contributions.sum() == pytest.approx(wanted, rel=1e-5)


async def test_the_processes_end_with_the_service(shop, model):
    pool = shop.pool()
    async with running(pool):
        await pool.explain(shop.champion(model[1]), rows(1.0))
        [process] = pool._all

    await eventually(lambda: process.returncode is not None)
    with pytest.raises(TransientError, match="has stopped"):
        await pool.explain(shop.champion(model[1]), rows(1.0))
