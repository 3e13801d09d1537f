"""Which key a training signs with."""

import pytest

from millrace_artifacts.errors import KeyFileError
from millrace_artifacts.keys import SigningKey, local_key
from millrace_testkit.memory import MemoryBroker
from millrace_training.bootstrap import training
from millrace_training.settings import Settings


@pytest.fixture
def started(tmp_path):
    """Training, put together with these settings."""
    made = []

    def start(**settings):
        settings = Settings(millrace_home=tmp_path / "home", **settings)
        made.append(training(settings, MemoryBroker(), chance=lambda: 0.5))
        return made[-1]

    yield start
    for one in made:
        one.database.close()


def given_key(folder):
    """A pair as an operator brings it."""
    local_key(folder)
    return folder / "signing.pem", folder / "trusted"


def test_it_makes_its_own_at_its_first_start_and_keeps_it(started):
    assert started().key.key_id == started().key.key_id


def test_it_takes_what_the_operator_gives(started, tmp_path):
    private, trusted = given_key(tmp_path / "given")
    made = started(millrace_signing_key_file=private, millrace_trusted_keys=str(trusted))

    assert made.key.key_id == SigningKey.read(private).key_id
    assert not (tmp_path / "home" / "keys").exists()


def test_it_does_not_start_with_a_key_that_is_missing(started, tmp_path):
    with pytest.raises(KeyFileError, match="No such file"):
        started(millrace_signing_key_file=tmp_path / "nothing.pem")


def test_it_does_not_start_with_a_key_that_nobody_trusts(started, tmp_path):
    private, _ = given_key(tmp_path / "given")
    _, others = given_key(tmp_path / "others")

    with pytest.raises(KeyFileError, match=r"which is not trusted.*MILLRACE_TRUSTED_KEYS"):
        started(millrace_signing_key_file=private, millrace_trusted_keys=str(others))


def test_several_keys_are_trusted_while_one_takes_over_from_another(started, tmp_path):
    old_key, old = given_key(tmp_path / "old")
    new_key, new = given_key(tmp_path / "new")
    both = f"{old}:{new}"

    for private in (old_key, new_key):
        assert started(millrace_signing_key_file=private, millrace_trusted_keys=both)
