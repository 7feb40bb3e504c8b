"""/mydata: everything that is stored about a person, in files that their chat can carry."""

import io
import json
import zipfile
from typing import Any

import pytest
from sqlmodel import Session, select

from bot.delivery import Delivery
from bot.export import Export
from bot.store import outbox, people
from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.models import AdapterRow, HeadshotRow, OutboxRow, PersonRow, PhotoRow
from tests.fakes import FakePlatform, FixedClock, place


@pytest.fixture
async def promised(database: Database, blobs: FolderBlobs, clock: FixedClock) -> None:
    """A person with data, another one, and an export that was promised."""
    big = bytes(range(256)) * 1200  # 300 KiB
    for key, data in {"p/1": b"selfie", "f/1": b"{}", "a/1": big, "h/1": b"headshot", "p/2": b"bob"}.items():
        blobs.put(key, data)

    def add(session: Session) -> None:
        for who in ("ann", "bob"):
            session.add(
                PersonRow(
                    id=f"fake:{who}",
                    platform="fake",
                    user_id=who,
                    state={"name": who},
                    created_at=1.0,
                    seen_at=1.0,
                )
            )
        photo = {"number": 1, "platform": "fake", "file": {}, "status": "accepted", "created_at": 1.0}
        session.add(PhotoRow(id="1", person_id="fake:ann", clean_blob="p/1", facts_blob="f/1", **photo))
        session.add(PhotoRow(id="2", person_id="fake:bob", clean_blob="p/2", **photo))
        session.add(
            AdapterRow(
                id="a:1", person_id="fake:ann", status="ready", selfie_ids=["1"], blob="a/1", created_at=1.0
            )
        )
        session.add(
            HeadshotRow(
                id="s.0",
                shoot_id="s",
                person_id="fake:ann",
                index=0,
                blob="h/1.jpg",
                width=1,
                height=1,
                seed=1,
                created_at=1.0,
            )  # the file was deleted by its age
        )
        people.record_consent(session, person_id="fake:ann", version=3, now=1.0)
        people.record_consent(session, person_id="fake:bob", version=4, now=1.0)
        row = OutboxRow(
            key="export",
            platform="fake",
            person_id="fake:ann",
            user_id="ann",
            kind="file",
            created_at=clock(),
            place=outbox.PLACES.dump_python(place(), mode="json"),
            names=["my-data.zip"],
            as_file=True,
        )
        outbox.promise(session, row)

    await database.run(add)


def unpacked(platform: FakePlatform) -> dict[str, bytes]:
    found = {}
    for (item,) in platform.sent:
        (attachment,) = item.attachments
        assert attachment.as_file
        with zipfile.ZipFile(io.BytesIO(attachment.data)) as archive:
            found.update({name: archive.read(name) for name in archive.namelist()})
    return found


async def deliver(database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock) -> None:
    delivery = Delivery(database, blobs, {"fake": platform}, clock)
    for _ in range(8):
        await delivery.drain()


async def test_all_of_it_and_nobody_elses(
    promised: None, database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock
) -> None:
    await deliver(database, blobs, platform, clock)
    assert [item.attachments[0].name for (item,) in platform.sent] == ["my-data.zip"]
    files = unpacked(platform)
    assert files["selfies/01.jpg"] == b"selfie"
    assert files["adapters/a-1.safetensors"][:3] == b"\x00\x01\x02"
    assert set(files) == {
        "likeness.json", "selfies/01.jpg", "face-templates/01.json", "adapters/a-1.safetensors"
    }  # fmt: skip
    record = json.loads(files["likeness.json"])
    assert record["person"]["state"] == {"name": "ann"}
    assert [row["version"] for row in record["consent"]] == [3]
    assert "bob" not in files["likeness.json"].decode()
    assert len(record["headshot"]) == 1


async def test_it_comes_in_parts_that_the_platform_takes_and_each_goes_out_once(
    promised: None, database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock
) -> None:
    platform.limited(file_max_bytes=200 << 10)
    await deliver(database, blobs, platform, clock)
    names = [item.attachments[0].name for (item,) in platform.sent]
    assert names == [f"my-data-{number}.zip" for number in range(1, len(names) + 1)]
    assert len(names) >= 3
    assert all(len(item.attachments[0].data) <= 200 << 10 for (item,) in platform.sent)
    files = unpacked(platform)
    pieces = [files[name] for name in sorted(files) if name.startswith("adapters/")]
    assert b"".join(pieces) == bytes(range(256)) * 1200
    assert b"cat" in files["READ-ME.txt"]


async def test_made_twice_it_is_one_promise(
    promised: None, database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock
) -> None:
    """Killed after the files were made, or made by two processes."""
    (row,) = await database.read(lambda session: session.exec(select(OutboxRow)).all())
    export: Any = Export(database, blobs, clock)
    for _ in range(2):
        await export.make(row, 200 << 10)
    await deliver(database, blobs, platform, clock)
    names = [item.attachments[0].name for (item,) in platform.sent]
    assert len(names) == len(set(names))
