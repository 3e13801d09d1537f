import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from millrace_artifacts.errors import KeyFileError
from millrace_artifacts.keys import SigningKey, TrustedKeys, local_key


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "keys"
    local_key(folder)
    return folder


def test_a_local_stack_makes_its_pair_once(home):
    key = local_key(home)

    assert local_key(home).key_id == key.key_id
    assert TrustedKeys([home / "trusted"]).find(key.key_id) is not None
    assert mode(home / "signing.pem") == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["signing.pem", "trusted"]


def test_of_many_who_start_at_once_all_get_the_same_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: local_key(tmp_path / "keys"), range(64)))

    assert len({key.key_id for key in keys}) == 1
    assert len(list((tmp_path / "keys" / "trusted").iterdir())) == 1


def test_a_public_half_that_is_lost_is_written_again(home):
    [public] = (home / "trusted").iterdir()
    public.unlink()

    local_key(home)

    assert public.exists()


@pytest.mark.parametrize("open_to", [0o604, 0o602, 0o601, 0o620, 0o666])
def test_a_private_key_that_others_may_read_or_change_is_refused(home, open_to):
    (home / "signing.pem").chmod(open_to)

    with pytest.raises(KeyFileError, match=r"others may read or change .*chmod 600"):
        SigningKey.read(home / "signing.pem")


def test_a_private_key_that_its_group_may_read_is_taken_as_orchestrators_mount_it(home):
    (home / "signing.pem").chmod(0o440)

    assert SigningKey.read(home / "signing.pem").key_id == local_key(home).key_id


def ec_pem():
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted_pem():
    key = SigningKey.made()._key
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "not a key in PEM.*openssl genpkey"),
        (b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "not a key in PEM"),
        (b"x" * 100_000, "too large"),
        (ec_pem(), "not an Ed25519 key"),
        (encrypted_pem(), "not a key in PEM"),
        (SigningKey.made().public_pem, "not a key in PEM"),
    ],
)
def test_a_file_that_holds_no_signing_key_is_refused_without_quoting_it(tmp_path, content, words):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)

    with pytest.raises(KeyFileError, match=words) as refused:
        SigningKey.read(path)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_private_key_never_shows_itself(home):
    key = local_key(home)
    lines = (home / "signing.pem").read_text().splitlines()

    assert all(line not in repr(key) + str(key) for line in lines)
    assert not hasattr(key, "__dict__") or "_key" in vars(key)
    assert repr(vars(key)["_key"]).startswith("<")


def test_keys_are_trusted_from_files_and_folders_and_at_once(tmp_path):
    old, new, third = (SigningKey.made() for _ in range(3))
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "old.pem").write_bytes(old.public_pem)
    (tmp_path / "third.pem").write_bytes(third.public_pem)
    keys = TrustedKeys([folder, tmp_path / "third.pem"])
    assert keys.find(old.key_id)
    assert keys.find(third.key_id)
    assert keys.find(new.key_id) is None

    (folder / "new.pem").write_bytes(new.public_pem)
    assert keys.find(new.key_id)
    assert keys.find(old.key_id)

    (folder / "old.pem").unlink()
    assert keys.find(old.key_id) is None


def test_what_is_no_public_key_is_told_and_the_others_count(tmp_path):
    good = SigningKey.made()
    public_ec = generate_private_key(SECP256R1()).public_key()
    files = {
        "good.pem": good.public_pem,
        "private.pem": SigningKey.made()._private_pem(),
        "empty.pem": b"",
        "ec.pem": public_ec.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    keys = TrustedKeys([tmp_path, tmp_path / "missing.pem"])

    assert keys.find(good.key_id)
    assert len(keys.problems()) == 4
    assert good.key_id in keys.in_words()
    assert "missing.pem can't be read as a public key: No such file" in keys.in_words()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_public_key_that_anybody_may_replace_is_not_trusted(tmp_path, what):
    key = SigningKey.made()
    path = tmp_path / "folder" / "key.pem"
    path.parent.mkdir()
    path.write_bytes(key.public_pem)
    keys = TrustedKeys([path.parent])
    assert keys.find(key.key_id)

    (path if what == "file" else path.parent).chmod(0o777)

    assert keys.find(key.key_id) is None
    assert "chmod go-w" in keys.in_words()


def test_no_folder_means_no_key(tmp_path):
    keys = TrustedKeys([tmp_path / "nothing"])

    assert keys.find("00") is None
    assert "holds no key" in keys.in_words()
