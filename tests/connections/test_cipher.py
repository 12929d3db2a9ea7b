"""What is encrypted with one key is read with it, and a sentence says why it is not."""

import pytest

from milepost.connections import Cipher
from milepost.errors import SecretKeyUnfit


def test_the_first_key_encrypts_and_all_decrypt(keys: list[str]) -> None:
    old, new = Cipher([keys[0]], origin="KEY"), Cipher([keys[1], keys[0]], origin="KEY")
    before, after = old.encrypt("hunter2 ü \udcff"), new.encrypt("hunter2")

    assert new.decrypt(before, what="it") == "hunter2 ü \udcff"
    assert Cipher([keys[1]], origin="KEY").decrypt(after, what="it") == "hunter2"
    assert [new.is_newest(each) for each in (before, after)] == [False, True]
    assert "hunter2" not in before + after


def test_another_key_is_told_from_damage(keys: list[str]) -> None:
    stored = Cipher([keys[0]], origin="KEY").encrypt("hunter2")
    other = Cipher([keys[1]], origin="KEY")

    with pytest.raises(
        SecretKeyUnfit, match="^it cannot be decrypted with the key of KEY: it was "
    ):
        other.decrypt(stored, what="it")
    for damaged in (stored[:50], "", "nonsense", stored.replace("gAAAA", "hAAAA")):
        with pytest.raises(SecretKeyUnfit, match="^it cannot be decrypted: the row is damaged"):
            other.decrypt(damaged, what="it")


@pytest.mark.parametrize("text", ["", "hunter2", "A" * 43, "Ä" * 44, "A" * 40])
def test_what_is_no_key_is_refused_and_not_shown(text: str, keys: list[str]) -> None:
    with pytest.raises(SecretKeyUnfit, match="^what KEY holds is no Fernet key") as caught:
        Cipher([text], origin="KEY")
    assert not text or text not in str(caught.value)
    with pytest.raises(SecretKeyUnfit, match="^key 2 in KEY is no Fernet key"):
        Cipher([keys[0], text], origin="KEY")
