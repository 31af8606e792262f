"""Pictures in a bucket: as safe there as in a folder, tried out first, and never bought for a bucket that is not."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from stepfun_async import Batch, ConfigurationError, SaveError
from stepfun_async.batch import JournalError, Records, StorageError
from stepfun_async.batch.journal.database import JOURNAL
from stepfun_async.batch.storage.bucket import Bucket
from stepfun_async.batch.storage.location import StorageLocation
from stepfun_async.batch.storage.store import ImageStore

from ...support.google_store import google_store
from ...support.object_store import BUCKET, ObjectStore
from ..shop import Shop, prompts
from ..test_batch import Gated
from .test_store import IMAGE, PNG

pytestmark = pytest.mark.anyio

URL = f"s3://{BUCKET}/all lakes"
ABOVE = "all lakes/"


@pytest.fixture
def store(bucket: ObjectStore) -> ImageStore:
    return StorageLocation(URL, notes=True).store()


@pytest.fixture
def shop(tmp_path: Path, bucket: ObjectStore) -> Shop:
    return Shop(tmp_path / "out")


def bought(shop: Shop, count: int, **settings: object) -> Batch:
    """A batch whose pictures go to the bucket."""
    return shop.batch(prompts(count), pictures=URL, **settings)


def pictures_in(bucket: ObjectStore) -> list[str]:
    return [name.removeprefix(ABOVE) for name in bucket.names() if name.endswith(".png")]


# --- the store ----------------------------------------------------------------------------------


def test_a_picture_is_found_again_with_its_note(store: ImageStore, bucket: ObjectStore) -> None:
    saved = store.put("ab/湖~2 [v1.2]", IMAGE, {"fingerprint": "ab"})
    assert saved.path == "ab/湖~2 [v1.2].png"
    assert bucket.get(ABOVE + saved.path) == PNG
    assert store.find("ab/湖~2 [v1.2]") == saved
    assert json.loads(bucket.get(ABOVE + "ab/湖~2 [v1.2].json"))["sha256"] == saved.sha256
    assert bucket.content_type(ABOVE + saved.path) == "image/png"
    assert list(store.digests([saved.path, "ab/dog.png"])) == [saved.sha256, None]


def test_no_object_is_ever_replaced(store: ImageStore, bucket: ObjectStore) -> None:
    bucket.put(ABOVE + "cat.jpg", b"somebody's cat")
    assert store.put("cat", IMAGE, {}).path == "cat~2.png"
    assert store.put("cat", IMAGE, {}).path == "cat~3.png"
    assert bucket.get(ABOVE + "cat.jpg") == b"somebody's cat"
    assert store.existing(["cat", "cat~2", "dog"]) == {"cat", "cat~2"}


def test_an_object_that_comes_between_is_not_replaced_either(
    store: ImageStore, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddled(self: Bucket, name: str, data: bytes, *, overwrite: bool) -> None:
        if name == "cat.png":
            bucket.put(ABOVE + name, b"somebody's cat")
        original(self, name, data, overwrite=overwrite)

    original = Bucket.write
    monkeypatch.setattr(Bucket, "write", meddled)
    assert store.put("cat", IMAGE, {}).path == "cat~2.png"
    assert bucket.get(ABOVE + "cat.png") == b"somebody's cat"


def test_a_request_that_is_made_again_is_not_taken_for_somebody_elses(bucket: ObjectStore) -> None:
    """Its answer was lost, and the client underneath made it again by itself."""
    files = Bucket(URL)
    files.write("cat.png", PNG, overwrite=False)
    files.write("cat.png", PNG, overwrite=False)
    with pytest.raises(FileExistsError):
        files.write("cat.png", PNG[:-1], overwrite=False)


def test_half_a_picture_is_none(store: ImageStore, bucket: ObjectStore) -> None:
    bucket.put(ABOVE + "cat.png", PNG[:-20])
    store.put("dog", IMAGE, {})
    bucket.put(ABOVE + "dog.png", PNG[:-1] + b"x")
    assert store.find("cat") is None
    assert store.find("dog") is None


def test_many_objects_come_in_their_order(store: ImageStore) -> None:
    names = [f"{number}.json" for number in range(50)]
    for name in names[::2]:
        Bucket(URL).write(name, name.encode(), overwrite=True)
    found = list(store.files.contents(names))
    assert found == [name.encode() if number % 2 == 0 else None for number, name in enumerate(names)]


def test_where_pictures_are_kept_pickles(store: ImageStore) -> None:
    store.put("cat", IMAGE, {})
    again: StorageLocation = pickle.loads(pickle.dumps(StorageLocation(URL, notes=True)))
    assert again.store().find("cat") is not None


# --- tried out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("s3://no-such-bucket/x", {}, "there is no such bucket"),
        (URL, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials"),
        (URL, {"AWS_ALLOW_HTTP": ""}, "set AWS_ALLOW_HTTP=true"),
        (URL, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, r"http://127\.0\.0\.1:1 cannot be reached"),
        (URL, {"AWS_ENDPOINT_URL": "minio:9000"}, "write https://host"),
        ("gs://lakes", {"GOOGLE_APPLICATION_CREDENTIALS": "missing.json"}, "missing.json"),
    ],
)
async def test_what_is_wrong_with_a_bucket_is_told_before_anything_is_bought(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")  # where a machine in the cloud gets credentials
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises((StorageError, ConfigurationError), match=said):
        await shop.batch(prompts(3), pictures=url).run()
    assert shop.engine.bill().calls == 0


@pytest.mark.parametrize(
    ("may", "said"),
    [
        ((), r"may not do that \(PUT\)"),
        (("s3:PutObject",), r"may not do that \(GET\)"),
        (("s3:PutObject", "s3:GetObject"), None),
    ],
)
async def test_somebody_who_may_not_do_what_it_takes_is_told(
    shop: Shop, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, may: tuple[str, ...], said: str | None
) -> None:
    for name, value in bucket.user("s3:ListAllMyBuckets", *may).items():
        monkeypatch.setenv(name, value)
    with bucket.guarded():
        if said is None:
            await bought(shop, 2).run()
        else:
            with pytest.raises(StorageError, match=rf"the credentials {said}; nothing was sent"):
                await bought(shop, 2).run()
    assert shop.pictures == (2 if said is None else 0)


async def test_wrong_credentials_are_told(shop: Shop, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with bucket.guarded(), pytest.raises(StorageError, match="the credentials are not accepted; nothing was sent"):
        await bought(shop, 2).run()


async def test_a_server_that_replaces_objects_though_told_not_to_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reckless(self: Bucket, name: str, data: bytes, *, overwrite: bool) -> None:
        original(self, name, data, overwrite=True)

    original = Bucket.write
    monkeypatch.setattr(Bucket, "write", reckless)
    with pytest.raises(StorageError, match="replaces existing objects although the request forbids it"):
        await bought(shop, 2).run()
    assert shop.pictures == 0


async def test_a_trial_leaves_nothing(shop: Shop, bucket: ObjectStore) -> None:
    await shop.batch([], pictures=URL).run()
    assert bucket.names() == []


def test_the_extra_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async.batch.storage.bucket.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "stepfun-async\[cloud\]"'):
        Batch([], out=tmp_path, pictures=URL)


@pytest.mark.parametrize(
    "pictures",
    ["s3://", "s3:///x", "s3://lakes//x", "s3://lakes/../x", "s3://key:sec/ret/secret@lakes", "azure://lakes", "", 3],
)
def test_what_is_no_place_is_refused(tmp_path: Path, pictures: str) -> None:
    with pytest.raises(ConfigurationError, match=r"s3://bucket/prefix|neither a folder nor") as caught:
        Batch([], out=tmp_path, pictures=pictures)
    assert "secret" not in str(caught.value)


def test_journals_reports_and_shards_go_to_no_bucket(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"journal of a batch .* on a local disk"):
        Batch([], out=URL)
    with pytest.raises(ConfigurationError, match="shards go to a folder on a local disk"):
        Records(tmp_path).pack(URL)
    with pytest.raises(ConfigurationError, match="reports go to a folder on a local disk"):
        Records(tmp_path).write_report(f"{URL}/report.html")


# --- whole batches ------------------------------------------------------------------------------


async def test_every_line_becomes_a_picture_and_a_second_run_buys_nothing(shop: Shop, bucket: ObjectStore) -> None:
    first = await bought(shop, 12).run()
    assert (first.done, first.failed) == (12, 0)
    items = list(Records(shop.out).items())
    assert sorted(pictures_in(bucket)) == sorted(str(item.path) for item in items)
    assert len(bucket.names()) == 24
    assert {path.name.partition(".")[0] for path in shop.out.iterdir()} == {"journal"}
    again = await bought(shop, 12, verify=True).run()
    assert (again.done, again.skipped, shop.pictures) == (0, 12, 12)


async def test_a_bucket_of_google_keeps_the_same_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path / "out")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    with google_store() as server:
        server.account(tmp_path / "account.json")
        server.objects["lakes/all lakes/cat.png"] = PNG
        lines = [{"id": name, "prompt": f"a {name}"} for name in ("cat", "dog")]
        for _ in range(2):
            await shop.batch(lines, pictures="gs://lakes/all lakes", name="{id}", verify=True).run()
    assert shop.pictures == 2
    assert shop.states() == {"done": 2}
    names = ["cat.png", "cat~2.json", "cat~2.png", "dog.json", "dog.png"]
    assert sorted(server.objects) == [f"lakes/all lakes/{name}" for name in names]
    assert server.objects["lakes/all lakes/cat.png"] == PNG


async def test_pictures_are_found_again_when_the_journal_is_gone(shop: Shop) -> None:
    await bought(shop, 5).run()
    before = [(item.id, item.sha256, item.seed) for item in Records(shop.out).items()]
    for path in shop.out.glob(f"{JOURNAL}*"):
        path.unlink()
    progress = await bought(shop, 5).run()
    assert (progress.adopted, shop.pictures) == (5, 5)
    assert [(item.id, item.sha256, item.seed) for item in Records(shop.out).items()] == before


async def test_somebody_elses_picture_is_neither_taken_nor_replaced(shop: Shop, bucket: ObjectStore) -> None:
    bucket.put(ABOVE + "cat.png", PNG)
    await shop.batch([{"id": "cat", "prompt": "a cat"}], pictures=URL, name="{id}").run()
    assert shop.pictures == 1
    assert pictures_in(bucket) == ["cat.png", "cat~2.png"]
    assert bucket.get(ABOVE + "cat.png") == PNG


async def test_verify_finds_objects_that_are_gone_or_changed(shop: Shop, bucket: ObjectStore) -> None:
    batch = bought(shop, 4, verify=True)
    await batch.run()
    gone, changed, *_ = pictures_in(bucket)
    bucket.delete(ABOVE + gone)
    bucket.put(ABOVE + changed, PNG)
    assert (await batch.run()).done == 0
    assert batch.status().failures == {"OutputLostError": 2}
    assert batch.retry(["OutputLostError"]) == 2
    assert (await batch.run()).done == 2
    assert shop.pictures == 6


async def test_a_bucket_that_cannot_be_asked_has_lost_nothing(
    shop: Shop, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may not be read is not gone."""
    await bought(shop, 3).run()
    monkeypatch.setattr(Bucket, "check_writable", lambda _: None)
    with bucket.guarded(), pytest.raises(StorageError, match="the credentials are not accepted"):
        await bought(shop, 3, verify=True).run()
    assert shop.states() == {"done": 3}


async def test_a_bucket_that_takes_no_more_ends_the_run_and_no_paid_picture_is_lost(
    shop: Shop, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop.transport = gated = Gated(shop.engine)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def run() -> None:
        with pytest.raises(SaveError, match=r"the credentials are not accepted; it is in "):
            await bought(shop, 20).run()

    with ExitStack() as stack:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await gated.came.wait()
            stack.enter_context(bucket.guarded())
            gated.gate.set()
    assert shop.states()["failed"] == shop.pictures == len(list(tmp_path.glob("stepfun-*.png"))) == 4
    assert pictures_in(bucket) == []
    progress = await bought(shop, 20).run()
    assert progress.adopted == 4
    assert (shop.pictures, len(pictures_in(bucket))) == (20, 20)
    assert list(tmp_path.glob("stepfun-*.png")) == []


async def test_another_place_is_told_and_moved_pictures_are_known_there(
    shop: Shop, bucket: ObjectStore, tmp_path: Path
) -> None:
    await shop.batch(prompts(3), pictures=tmp_path / "elsewhere").run()
    with pytest.raises(JournalError, match=rf"pictures was '{tmp_path}/elsewhere', and is '{URL}'"):
        await bought(shop, 3).run()
    for path in (tmp_path / "elsewhere").rglob("*.*"):
        bucket.put(ABOVE + path.relative_to(tmp_path / "elsewhere").as_posix(), path.read_bytes())
    progress = await bought(shop, 3, accept_changes=True, verify=True).run()
    assert (progress.done, shop.pictures) == (0, 3)
    assert shop.states() == {"done": 3}


async def test_another_folder_takes_the_pictures(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(prompts(3), pictures=tmp_path / "elsewhere").run()
    assert shop.files() == []
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == 3
    Records(shop.out).pack(tmp_path / "shards")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"no images can be written .* nothing was sent"):
        await shop.batch(prompts(3), out=tmp_path / "more", pictures=tmp_path / "file" / "below").run()
    assert shop.pictures == 3


# --- exports ------------------------------------------------------------------------------------


async def test_pictures_in_a_bucket_are_packed(shop: Shop, bucket: ObjectStore, tmp_path: Path) -> None:
    await bought(shop, 20).run()
    (shard,) = Records(shop.out).pack(tmp_path / "shards")
    with tarfile.open(shard) as tar:
        names = tar.getnames()
        pictures = [name for name in names if name.endswith(".png")]
        for item, name in zip(Records(shop.out).items(), pictures, strict=True):
            file = tar.extractfile(name)
            assert file is not None
            assert file.read() == bucket.get(ABOVE + str(item.path))
    assert Counter(name.partition(".")[2] for name in names) == {"png": 20, "txt": 20, "json": 20}
    bucket.delete(ABOVE + str(next(iter(Records(shop.out).items())).path))
    with pytest.raises(JournalError, match="it is gone"):
        Records(shop.out).pack(tmp_path / "more")


async def test_the_manifest_goes_beside_the_pictures(shop: Shop, bucket: ObjectStore) -> None:
    await bought(shop, 3).run()
    target = f"{URL}/manifest.jsonl"
    assert Records(shop.out).write_manifest(target) == target
    rows = [json.loads(line) for line in bucket.get(f"{ABOVE}manifest.jsonl").decode().splitlines()]
    assert sorted(row["path"] for row in rows) == sorted(pictures_in(bucket))
    assert {path.name.partition(".")[0] for path in shop.out.iterdir()} == {"journal"}
    with pytest.raises(StorageError, match="there is no such bucket"):
        Records(shop.out).write_manifest("s3://no-such-bucket/manifest.jsonl")


async def test_a_report_names_pictures_in_a_bucket(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await bought(shop, 2).run()
    monkeypatch.setattr(
        "stepfun_async.batch.storage.bucket.find_spec", lambda name: None
    )  # it needs no bucket for that
    page = Records(shop.out).write_report().read_text()
    for item in Records(shop.out).items():
        assert f"{URL}/{item.path}" in page
    assert "s3%3A" not in page
