"""The worker: a job becomes a request to the engine, its answer becomes rows. No policy.

`likeness worker` runs `python -m worker`; `arq worker.WorkerSettings` serves the same.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bot import jobs
from bot.config import Settings, load, without_secrets
from bot.conversation.types import TrainingFinished, TrainingProgressed
from bot.scratch import Scratch
from bot.service import Service, arq_settings, run
from bot.store import deletion, opinions, people, results, work
from bot.store.blobs import BlobStore, open_blobs
from bot.store.database import Database
from bot.store.photos import blob_name
from bot.store.results import Made
from bot.store.work import Claim
from bot.workshop import GiveUp, Tell, TryAgain
from engine import messages
from engine.client import COMMAND, EngineClient, EngineGone, Work
from engine.config import EngineConfig
from engine.messages import AdapterTrained, HeadshotsMade, PhotoChecked

A = TypeVar("A", PhotoChecked, AdapterTrained, HeadshotsMade)
TOGETHER = {"check": 4, "train": 8, "shoot": 8}  # in hand at once; the engine decides their order


class EngineTool:
    """`bot.workshop.Tool` by an engine process."""

    def __init__(
        self, engine: EngineClient, base: str, database: Database, blobs: BlobStore, work: Path
    ) -> None:
        self._engine, self._base, self._database, self._blobs = engine, base, database, blobs
        self._scratch = Scratch(work, blobs)
        self._adapters: set[str] = set()  # the engine may hold something of these

    async def ready(self) -> bool:
        """See `Tool`."""
        return await self._engine.ready()

    def warm(self, job: Claim) -> bool:
        """See `Tool`. A training is warm where its checkpoint is, and a new one everywhere."""
        if isinstance(job.payload, jobs.MakeHeadshots):
            return job.payload.adapter_id in self._adapters
        return not job.attempt or self._scratch.holds(job.name)

    async def stop(self, claim: Claim) -> None:
        """See `Tool`."""
        await self._engine.cancel(claim.request_id)

    async def perform(self, claim: Claim, tell: Tell) -> bool:
        """See `Tool`."""
        folder = await self._database.run(partial(people.folder, person_id=claim.person_id))
        match claim.payload:
            case jobs.TrainAdapter() as job:
                return await self._train(claim, job, folder, tell)
            case jobs.MakeHeadshots() as job:
                return await self._shoot(claim, job, folder)
        return await self._check(claim, folder)

    async def clear(self, claim: Claim) -> None:
        """See `Tool`."""
        await self._scratch.remove(claim.name)
        await deletion.carry_out(self._database, self._blobs)

    async def tend(self) -> None:
        """Forget adapters and scratch files that nobody needs any more."""
        living = await self._database.read(partial(results.living_adapters, ids=self._adapters))
        for adapter_id in self._adapters - living:
            await self._engine.forget(adapter_id)
        self._adapters &= living
        await self._scratch.remove_others(await self._database.read(work.unfinished))

    async def _check(self, claim: Claim, folder: str) -> bool:
        found = await self._database.read(partial(results.photo_to_check, claim=claim))
        if found is None:
            return False
        (photo, others), scratch = found, self._scratch.folder(claim.name)
        clean = scratch / "clean.jpg"
        request = messages.CheckPhoto(
            id=claim.request_id,
            photo_id=photo.id,
            path=await self._scratch.unpack(photo.blob, scratch / "photo"),
            clean_path=str(clean),
            others=await self._scratch.facts({other.id: other.facts for other in others}),
        )
        answer = await self._answer(request, PhotoChecked)
        stem = f"{folder}photos/{blob_name(photo.id)}.{claim.attempt}"
        return await self._stored(
            results.checked,
            claim=claim,
            verdicts=answer.verdicts,
            clean_blob=await self._scratch.keep(f"{stem}.clean.jpg", clean) if answer.facts else "",
            facts_blob=await self._scratch.keep_facts(f"{stem}.facts", answer.facts),
        )

    async def _train(self, claim: Claim, job: jobs.TrainAdapter, folder: str, tell: Tell) -> bool:
        photos = await self._database.read(partial(results.photos_to_train, claim=claim))
        scratch = self._scratch.folder(claim.name)
        paths = {photo: scratch / "photos" / f"{blob_name(photo.id)}.jpg" for photo in photos}
        request = messages.TrainAdapter(
            id=claim.request_id,
            person_id=Path(folder).name,
            adapter_id=job.adapter_id,
            photos=tuple([await self._scratch.unpack(photo.blob, path) for photo, path in paths.items()]),
            work_dir=str(scratch / "training"),
            adapter_path=str(scratch / "adapter.safetensors"),
            facts=await self._scratch.facts({path.stem: photo.facts for photo, path in paths.items()}),
            seed=job.seed,
        )

        def progress(now: messages.Progress) -> None:
            tell(TrainingProgressed(job.adapter_id, now.stage, now.fraction, now.eta_seconds, now.ahead))

        answer = await self._answer(request, AdapterTrained, progress)
        self._adapters.add(job.adapter_id)
        key = f"{folder}adapters/{blob_name(job.adapter_id)}.{claim.attempt}.safetensors"
        return await self._stored(
            results.trained,
            claim=claim,
            blob=await self._scratch.keep_made(key, answer.adapter_path),
            base=self._base,
            event=TrainingFinished(job.adapter_id, answer.seconds, answer.likeness, answer.advice),
            facts=answer.facts,
        )

    async def _shoot(self, claim: Claim, job: jobs.MakeHeadshots, folder: str) -> bool:
        blob = await self._database.read(partial(results.adapter_to_use, claim=claim))
        if not blob:
            raise GiveUp("adapter_missing")
        scratch = self._scratch.folder(claim.name)
        said = await self._scratch.facts(await self._database.read(partial(opinions.of_shoot, claim=claim)))
        request = messages.MakeHeadshots(
            id=claim.request_id,
            person_id=Path(folder).name,
            adapter_id=job.adapter_id,
            adapter_path=await self._scratch.unpack(blob, scratch / "adapter.safetensors"),
            prompt=job.prompt,
            count=job.count,
            seed=job.seed,
            out_dir=str(scratch / "headshots"),
            liked=tuple(said[id] for id in job.liked if id in said),
            disliked=tuple(said[id] for id in job.disliked if id in said),
        )
        self._adapters.add(job.adapter_id)
        answer = await self._answer(request, HeadshotsMade)
        stem = f"{folder}headshots/{blob_name(job.shoot_id)}.{claim.attempt}"
        made = [await self._keep_headshot(f"{stem}.{at}", each) for at, each in enumerate(answer.pictures)]
        told = (answer.seconds, answer.tried, answer.reached, answer.lacking)
        return await self._stored(results.made, claim=claim, pictures=made, told=told)

    async def _keep_headshot(self, stem: str, each: messages.Picture) -> Made:
        facts_blob = await self._scratch.keep_facts(f"{stem}.facts", each.facts)
        blob = await self._scratch.keep_made(f"{stem}{Path(each.path).suffix}", each.path)
        return Made(blob, each.width, each.height, each.seed, each.likeness, facts_blob)

    async def _answer(
        self, request: Work, wanted: type[A], progress: Callable[[messages.Progress], None] = lambda _: None
    ) -> A:
        """The engine's answer of the wanted kind. Raises TryAgain, GiveUp."""
        try:
            answer = await self._engine.request(request, progress)
        except EngineGone as gone:
            raise TryAgain(gone.reason, failure=True) from gone
        if isinstance(answer, messages.Failed):
            raise TryAgain(answer.reason, failure=True) if answer.retry else GiveUp(answer.reason)
        assert isinstance(answer, wanted)
        return answer

    async def _stored(self, write: Callable[..., bool], **values: Any) -> bool:
        """The transaction of a result, which took long to make: tried until the database answers."""
        return await self._database.insist(partial(write, now=time.time(), **values))


def make(settings: Settings, command: Sequence[str] = COMMAND) -> Service:
    """Everything in a worker's process, not yet started."""
    data_dir = settings.bot.data_dir.absolute()
    chosen = settings.engine.model_dump(exclude={"licence_confirmed"})
    config = EngineConfig(**chosen, cache_dir=f"{data_dir}/cache", metrics_dir=f"{data_dir}/metrics")
    environ = without_secrets({**os.environ, "TQDM_DISABLE": "1"})  # progress bars are no lines of a log
    engine, database = EngineClient(config, environ=environ, command=command), Database(settings.database_url)
    tool = EngineTool(engine, config.base, database, open_blobs(settings), data_dir / "work")
    return Service(settings, database, tool, engine, TOGETHER)


def __getattr__(name: str) -> Any:
    if name == "WorkerSettings":  # made when it is asked for: importing this module reads no settings
        return arq_settings(make(load()))
    raise AttributeError(name)


if __name__ == "__main__":
    run(make)
