"""Which keys may be those of our uploads: the inverse of how keys are made."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tusd_s3.model.objects import check_key_template, render_key, upload_id_in_key
from tusd_s3.model.upload import UploadId

ID_ALPHABET = "ABCXYZabcxyz0189_-"
ID = UploadId("0123456789abcdefghijAB")

ids = st.text(ID_ALPHABET, min_size=22, max_size=22).map(UploadId)
literals = st.text("ab/.-_()+[*", max_size=6)
names = st.binary(max_size=300) | st.text(max_size=300).map(
    lambda text: text.encode(errors="replace")
)


@st.composite
def templates(draw: st.DrawFn) -> str:
    fields = draw(st.permutations(["{id}", "{filename}"]))[: draw(st.integers(1, 2))]
    assume("{id}" in fields)
    template = draw(literals)
    for field in fields:
        template += field + draw(literals)
    try:
        check_key_template(template)
    except ValueError:
        assume(False)
    return template


@given(templates(), st.sampled_from(["", "up/", "a.b/c-", "[x]*"]), ids, names)
def test_the_id_of_every_key_we_make_is_found(
    template: str, prefix: str, upload_id: UploadId, name: bytes
) -> None:
    key = render_key(template, prefix=prefix, upload_id=upload_id, metadata={"filename": name})
    assert upload_id_in_key(template, prefix=prefix, key=key) == upload_id


@given(templates(), st.text(max_size=60) | ids)
def test_a_key_in_which_an_id_is_found_is_one_we_could_have_made(template: str, key: str) -> None:
    found = upload_id_in_key(template, prefix="", key=key)
    assert found is None or found in key


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{id}", ID),
        ("{id}", f"up/{ID}x"),
        ("{id}", f"up/x{ID}"),
        ("{id}", f"up/{ID}/x"),
        ("{id}", f"up/{ID[:-1]}"),
        ("{id}", f"up/{ID[:-1]}+"),
        ("{id}", f"up/{ID}\n"),
        ("{id}", f"upload/{ID}"),
        ("{id}.bin", f"up/{ID}xbin"),
        ("{id}/{filename}", f"up/{ID}"),
        ("{id}/{filename}", f"up/{ID}/"),
        ("{id}/{filename}", f"up/{ID}/a/b"),
        ("{id}/{filename}", f"up/{ID}/.hidden"),
        ("{id}/{filename}", f"up/{ID}/ends with a space "),
        ("{id}/{filename}", f"up/{ID}/100%"),
        ("{id}/{filename}", f"up/{ID}/re\u0301sume\u0301"),
        ("{id}/{filename}", f"up/{ID}/{'x' * 256}"),
    ],
)
def test_keys_that_are_none_of_ours(template: str, key: str) -> None:
    assert upload_id_in_key(template, prefix="up/", key=key) is None
