from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.errors import DigestMismatchError, UntrustedArtifactError
from millrace_artifacts.keys import SigningKey, TrustedKeys
from millrace_artifacts.seal import Seal, Statement, Vault, check_seal, sealed
from millrace_artifacts.store import ObjectStore

KEY = SigningKey.made()
STATEMENT = Statement("bikes", 3, "run-7", "ab" * 32)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trusted")
    (folder / "training.pem").write_bytes(KEY.public_pem)
    return TrustedKeys([folder])


def test_what_a_trusted_key_has_signed_is_trusted(keys):
    check_seal(STATEMENT, sealed(STATEMENT, KEY), keys)


def test_signing_again_gives_the_same_seal():
    assert sealed(STATEMENT, KEY) == sealed(STATEMENT, KEY)


@pytest.mark.parametrize(
    "changed",
    [
        {"pipeline": "taxis"},
        {"pipeline_version": 4},
        {"run_id": "run-8"},
        {"artifact_sha256": "ab" * 31 + "ac"},
    ],
)
def test_a_signature_counts_for_nothing_but_what_was_signed(keys, changed):
    with pytest.raises(UntrustedArtifactError, match="was changed after signing"):
        check_seal(replace(STATEMENT, **changed), sealed(STATEMENT, KEY), keys)


@pytest.mark.parametrize("seal", [Seal("", b""), Seal(KEY.key_id, b""), Seal("", b"x" * 64)])
def test_nothing_signed_is_nothing_trusted(keys, seal):
    with pytest.raises(UntrustedArtifactError, match=r"is not signed.*retrain"):
        check_seal(STATEMENT, seal, keys)


def test_an_unknown_key_is_named_with_those_that_are_trusted(keys):
    other = SigningKey.made()

    with pytest.raises(UntrustedArtifactError) as refused:
        check_seal(STATEMENT, sealed(STATEMENT, other), keys)

    assert other.key_id in str(refused.value)
    assert KEY.key_id in str(refused.value)
    assert "MILLRACE_TRUSTED_KEYS" in str(refused.value)


def test_another_keys_signature_under_a_trusted_name_is_refused(keys):
    forged = replace(sealed(STATEMENT, SigningKey.made()), key_id=KEY.key_id)

    with pytest.raises(UntrustedArtifactError):
        check_seal(STATEMENT, forged, keys)


@given(at=st.integers(0, 511))
def test_a_signature_with_a_flipped_bit_is_refused(keys, at):
    seal = sealed(STATEMENT, KEY)
    signature = bytearray(seal.signature)
    signature[at // 8] ^= 1 << at % 8

    with pytest.raises(UntrustedArtifactError):
        check_seal(STATEMENT, replace(seal, signature=bytes(signature)), keys)


@given(signature=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_signature_are_refused(keys, signature):
    with pytest.raises(UntrustedArtifactError):
        check_seal(STATEMENT, Seal(KEY.key_id, signature), keys)


texts = st.text(alphabet='ab",[]\\\n1', max_size=4)
statements = st.builds(Statement, texts, st.integers(0, 3), texts, texts)


@given(one=statements, other=statements)
def test_two_statements_are_never_signed_alike(one, other):
    assert (one.encoded() == other.encoded()) is (one == other)


class WatchedStore(ObjectStore):
    asked = 0

    def get(self, uri, sha256):
        self.asked += 1
        return super().get(uri, sha256)


@pytest.fixture
def vault(tmp_path, keys):
    return Vault(WatchedStore(f"file://{tmp_path}"), keys)


def test_the_vault_hands_out_what_is_signed(vault):
    stored = vault.store.put("a.zip", b"content")
    statement = replace(STATEMENT, artifact_sha256=stored.sha256)

    assert vault.open(stored.uri, statement, sealed(statement, KEY)) == b"content"


def test_the_vault_does_not_even_ask_for_what_is_not_signed(vault):
    stored = vault.store.put("a.zip", b"content")
    statement = replace(STATEMENT, artifact_sha256=stored.sha256)

    with pytest.raises(UntrustedArtifactError):
        vault.open(stored.uri, statement, sealed(statement, SigningKey.made()))

    assert vault.store.asked == 0


def test_the_vault_hands_out_nothing_else_under_a_good_seal(vault):
    stored = vault.store.put("a.zip", b"other content")

    with pytest.raises(DigestMismatchError):
        vault.open(stored.uri, STATEMENT, sealed(STATEMENT, KEY))
