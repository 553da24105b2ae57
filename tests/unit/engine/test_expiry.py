"""What may be removed, and when: whatever is in doubt stays."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.engine import expiry
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.ports import Recovered
from tusd_s3.ports_cleanup import ListedMultipart, Listing

NOW_S = 1_000_000_000.0
DAY_S = 86_400.0
ID = UploadId("0123456789abcdefghijAB")
UPLOAD = Upload(
    id=ID,
    key=f"up/{ID}",
    length=None,
    metadata="",
    expires_at_s=int(NOW_S),
    layout=PartLayout(limits.S3_PART_SIZE_MIN_BYTES),
    multipart_id="named",
)
RECOVERED = Recovered(upload=UPLOAD, etags=(), changed_at_s=0.0)

lifetimes = st.floats(1.0, 365 * DAY_S)
ages = st.floats(0.0, 1000 * DAY_S)
names = st.sampled_from(["named", "other"])
listings = st.none() | st.builds(
    Listing,
    upload_id=st.just(ID),
    upload=st.none() | st.builds(lambda name: replace(UPLOAD, multipart_id=name), names),
    is_held=st.booleans(),
)
recoveries = st.none() | st.builds(
    lambda name: replace(RECOVERED, upload=replace(UPLOAD, multipart_id=name)), names
)


def multipart(age_s: float, multipart_id: str = "named") -> ListedMultipart:
    return ListedMultipart(key=UPLOAD.key, multipart_id=multipart_id, started_at_s=NOW_S - age_s)


@given(lifetimes, ages, st.floats(0, 1000 * DAY_S))
def test_nothing_is_removed_while_it_could_still_be_brought_back(
    lifetime_s: float, age_s: float, stated_s: float
) -> None:
    upload = replace(UPLOAD, expires_at_s=int(NOW_S - age_s + stated_s))
    recovered = Recovered(upload=upload, etags=(), changed_at_s=NOW_S - age_s)
    if expiry.is_expired(recovered, lifetime_s, NOW_S):
        assert recovered.alive_until_s(lifetime_s) < NOW_S


@given(lifetimes)
def test_clocks_may_differ_by_what_s3_lets_pass(lifetime_s: float) -> None:
    margin_s = min(expiry.CLOCKS_APART_MAX_S, lifetime_s / 10)
    assert not expiry.is_old(NOW_S - lifetime_s - margin_s + 0.01, lifetime_s, NOW_S)
    assert expiry.is_old(NOW_S - lifetime_s - margin_s - 0.01, lifetime_s, NOW_S)


@given(ages, names, listings, recoveries, st.booleans())
def test_a_multipart_upload_that_somebody_names_is_no_orphan(
    age_s: float,
    name: str,
    listing: Listing | None,
    recovered: Recovered | None,
    own_prefix: bool,
) -> None:
    item = multipart(age_s, name)
    removed = expiry.may_be_orphan(item, listing, DAY_S, NOW_S) and expiry.is_orphan(
        item, listing, recovered, own_prefix=own_prefix
    )
    if not removed:
        return
    assert recovered is None or recovered.upload.multipart_id != name
    if listing is None:
        assert age_s > DAY_S
        assert own_prefix or recovered is not None  # something but its name says that it is ours
    else:
        assert not listing.is_held
        assert listing.upload is not None
        assert listing.upload.multipart_id != name
        assert age_s > DAY_S / 2


def test_an_orphan_is_found_in_the_second_half_of_its_record() -> None:
    listing = Listing(upload_id=ID, upload=UPLOAD, is_held=False)
    item = multipart(0.6 * DAY_S, "lost")
    assert expiry.may_be_orphan(item, listing, DAY_S, NOW_S)
    assert expiry.is_orphan(item, listing, RECOVERED, own_prefix=False)
    assert expiry.is_orphan(item, listing, None, own_prefix=False)
    assert not expiry.may_be_orphan(multipart(0.4 * DAY_S, "lost"), listing, DAY_S, NOW_S)


def test_a_foreign_multipart_upload_that_looks_like_ours_stays_unless_the_prefix_is_ours() -> None:
    item = multipart(100 * DAY_S, "theirs")
    assert expiry.may_be_orphan(item, None, DAY_S, NOW_S)
    assert not expiry.is_orphan(item, None, None, own_prefix=False)
    assert expiry.is_orphan(item, None, None, own_prefix=True)


@given(listings)
def test_a_parked_tail_stays_while_its_record_may_need_it(listing: Listing | None) -> None:
    parked = None
    if listing is not None and listing.upload is not None:
        parked = replace(listing, upload=replace(listing.upload, parked="t"))
        assert not expiry.can_do_without_tail(parked, "t")
        assert expiry.can_do_without_tail(parked, "u") is not listing.is_held
    can = expiry.can_do_without_tail(listing, "t")
    assert can is (listing is None or (listing.upload is not None and not listing.is_held))


@given(lifetimes, st.floats(0, 0.999))
def test_what_s3_dates_to_the_millisecond_lives_no_longer_than_its_record(
    lifetime_s: float, fraction_s: float
) -> None:
    """A record ends in whole seconds. If the parts lived on for the rest of the second, an upload
    that has just expired would come back, without its tail."""
    stored_at_s = NOW_S + fraction_s
    record_ends_at_s = int(stored_at_s + lifetime_s)
    upload = replace(UPLOAD, expires_at_s=0)
    stored = Recovered(upload=upload, etags=["e"], changed_at_s=stored_at_s)
    assert stored.alive_until_s(lifetime_s) <= record_ends_at_s
