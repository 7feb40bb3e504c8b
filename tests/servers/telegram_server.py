"""A small Bot API server over real HTTP, for tests: honest about limits and offsets, faulty on demand.

It serves what Likeness uses of https://core.telegram.org/bots/api: long polling in which an update that was
not confirmed comes again, webhooks with a secret header, downloads, uploads, edits, albums, callback answers.
Faults (429, 403, time-outs after acceptance, broken connections) are ordered through `/control/fault`.
People are played through `tests.servers.telegram_people`, over HTTP too, so that the bot under test may be
another process and may be killed: `python -m tests.servers.telegram_server --port 8081`.
"""

import argparse
import asyncio
import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers.telegram_methods import METHODS, Call, Refusal
from tests.servers.telegram_world import BOT, Json, World

TOKEN = "7000000001:AAF-test-token_of-nobody"
WEBHOOK_RETRY_SECONDS = 0.2


@dataclass
class Fault:
    """Something that goes wrong with the next `times` calls of `method` (to `chat_id`, where given).

    kind: `refuse` answers `code`, `description`, `parameters` and does nothing; `ignore` does nothing and
    never answers; `swallow` does what was asked and never answers; `drop` and `drop_after` close the
    connection instead of answering. "Never" ends after `seconds` with a closed connection.
    """

    method: str
    kind: str = "refuse"
    times: int = 1
    skip: int = 0
    chat_id: int | None = None
    code: int = 400
    description: str = ""
    parameters: Json = field(default_factory=dict)
    seconds: float = 600.0


class TelegramServer:
    """The server; `url` once it runs."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token, self.world, self.url = token, World(), ""
        self.faults: list[Fault] = []
        self.requests: list[Json] = []
        self.webhook: Json = {}
        self._people: set[Any] = set()  # connections of the people's side
        self._poll = 0  # number of the newest getUpdates; an older one that still waits loses
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._webhook_task: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=80 * 1024 * 1024)
        app.router.add_route("*", "/bot{token}/{method}", self._bot)
        app.router.add_get("/file/bot{token}/{path:.*}", self._download)
        app.router.add_post("/control/{verb}", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        self._closing.set()
        if self._webhook_task:
            self._webhook_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._webhook_task
        if self._runner:
            await self._runner.cleanup()

    # ------------------------------------------------------------ the bot's side

    async def _bot(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return _failure(Refusal(401, "Unauthorized"))
        call, method = await self._read(request), request.match_info["method"].lower()
        record = self._record(request.match_info["method"], call)
        fault = self._fault(method, call)
        if fault and fault.kind in ("ignore", "drop"):
            return await self._hang_up(request, fault.seconds if fault.kind == "ignore" else 0, record)
        try:
            if fault and fault.kind == "refuse":
                raise Refusal(fault.code, fault.description, **fault.parameters)
            answer = web.json_response({"ok": True, "result": await self._perform(method, call, request)})
        except Refusal as refusal:
            answer = _failure(refusal)
        record["status"] = answer.status
        if fault and fault.kind in ("swallow", "drop_after"):
            return await self._hang_up(request, fault.seconds if fault.kind == "swallow" else 0, record)
        return answer

    async def _perform(self, method: str, call: Call, request: web.Request) -> Any:
        match method:
            case "getupdates":
                return await self._get_updates(call, request)
            case "setwebhook":
                return self._set_webhook(call)
            case "deletewebhook":
                return self._set_webhook(Call(self.world, {"url": ""}))
            case "getwebhookinfo":
                return {
                    "url": self.webhook.get("url", ""),
                    "has_custom_certificate": False,
                    "pending_update_count": len(self.world.updates),
                }
            case _ if method in METHODS:
                return METHODS[method](call)
        raise Refusal(404, "Not Found")

    async def _get_updates(self, call: Call, request: web.Request) -> list[Json]:
        if self.webhook:
            raise Refusal(
                409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook"
            )
        self._poll += 1
        mine = self._poll
        if "allowed_updates" in call.params:
            self.world.allowed_updates = call.json("allowed_updates")
        self.world.confirm_before(int(call.params.get("offset", 0)))
        limit = min(int(call.params.get("limit", 100)), 100)
        until = time.monotonic() + float(call.params.get("timeout", 0))
        while not self.world.updates and time.monotonic() < until and not self._closing.is_set():
            await asyncio.sleep(0.01)
            if mine != self._poll:
                raise Refusal(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
                    "is running",
                )
            if request.transport is None:  # who asked is gone
                break
        return self.world.updates[:limit]

    def _set_webhook(self, call: Call) -> bool:
        url, secret = call.params.get("url", ""), call.params.get("secret_token", "")
        if url and not url.startswith(("https://", "http://127.0.0.1:")):
            raise Refusal(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if secret and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", secret):
            raise Refusal(400, "Bad Request: secret token contains unallowed characters")
        if "allowed_updates" in call.params:
            self.world.allowed_updates = call.json("allowed_updates")
        self.webhook = {"url": url, "secret_token": secret} if url else {}
        if url and self._webhook_task is None:
            self._webhook_task = asyncio.create_task(self._push())
        return True

    async def _push(self) -> None:
        """Send each update to the webhook until it answers 2xx, one after the other."""
        async with aiohttp.ClientSession() as http:
            while True:
                while not (self.webhook and self.world.updates):
                    await asyncio.sleep(0.01)
                update, secret = self.world.updates[0], self.webhook["secret_token"]
                headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
                try:
                    async with http.post(self.webhook["url"], json=update, headers=headers) as answer:
                        self.webhook["last_status"] = answer.status
                        if 200 <= answer.status < 300:
                            self.world.confirm_before(update["update_id"] + 1)
                            continue
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(WEBHOOK_RETRY_SECONDS)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        _, _, rest = request.match_info["path"].partition("files/")
        version, _, file_id = rest.partition("/")
        stored = self.world.files.get(file_id)
        if request.match_info["token"] != self.token or stored is None or version != str(stored.expired):
            return web.json_response({"ok": False, "error_code": 404, "description": "Not Found"}, status=404)
        fault = self._fault("download", Call(self.world, {}))
        if fault and fault.kind == "refuse":
            return _failure(Refusal(fault.code, fault.description))
        response = web.StreamResponse()
        response.content_length = len(stored.data)
        await response.prepare(request)
        half = len(stored.data) // 2
        await response.write(stored.data[:half])
        if fault:  # whatever its kind: the connection breaks in the middle
            return await self._hang_up(request, 0, {})
        await response.write(stored.data[half:])
        return response

    async def _read(self, request: web.Request) -> Call:
        call = Call(self.world, dict(request.query))
        if request.content_type == "application/json":
            body = await request.json()
            call.params |= {k: v if isinstance(v, str) else str(v) for k, v in body.items()}
            return call
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                call.uploads[name] = (value.filename, value.file.read())
            else:
                call.params[name] = str(value)
        return call

    def _record(self, method: str, call: Call) -> Json:
        files = [
            {"field": name, "name": file, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, (file, data) in call.uploads.items()
        ]
        record = {"method": method, "params": call.params, "files": files, "at": time.time(), "status": 0}
        self.requests.append(record)
        return record

    def _fault(self, method: str, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.method.lower() not in (method, "*") or (fault.method == "*" and method == "getupdates"):
                continue
            if fault.chat_id is not None and call.params.get("chat_id") != str(fault.chat_id):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            return fault
        return None

    async def _hang_up(self, request: web.Request, seconds: float, record: Json) -> web.StreamResponse:
        record["hung_up"] = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        if request.transport:
            request.transport.abort()
        return web.Response()

    # ------------------------------------------------------------ the people's side

    async def _control(self, request: web.Request) -> web.Response:
        """What `tests.servers.telegram_people` calls; bodies and answers are JSON."""
        self._people.add(request.protocol)
        body, world = await request.json(), self.world
        match request.match_info["verb"]:
            case "person":
                result: Any = world.add_person(body["name"], body["language"], body["id"])
            case "group":
                result = world.add_group(body["title"])
            case "migrate":
                result = world.migrate(body["chat_id"])
            case "say":
                content = self._attach(body["content"], body.get("files", []))
                sender, chat = body["user_id"], body["chat_id"]
                result = world.user_message(sender, chat, content, update=body.get("update", True))
            case "press":
                result = world.press(body["user_id"], body["chat_id"], body["message_id"], body["data"])
            case "flag":
                result = self._flag(body)
            case "expire":  # every download link given out so far is dead
                for stored in world.files.values():
                    stored.expired += 1
                result = True
            case "fault":
                self.faults.append(Fault(**body))
                result = True
            case "update":
                result = world.add_update(body["kind"], body["body"])
            case "messages":
                result = world.messages.get(body["chat_id"], [])
            case "file":
                result = base64.b64encode(world.files[body["file_id"]].data).decode()
            case "abandoned":
                result = self._abandoned()
            case "state":
                result = {
                    "bot": BOT,
                    "settings": world.settings,
                    "webhook": self.webhook,
                    "waiting": len(world.updates),
                    "faults": [asdict(fault) for fault in self.faults],
                    "callbacks": {key: value["answered"] for key, value in world.callbacks.items()},
                    "requests": self.requests,
                }
            case _:
                raise web.HTTPNotFound
        return web.json_response(result)

    def _abandoned(self) -> bool:
        """Whether no bot is connected any more, and all that bots ever asked for is done.

        A process that was killed may have left requests on their way. Its connections were accepted before
        the one of this call, if that was made later; each is known here until its last request is handled.
        """
        assert self._runner
        assert self._runner.server
        return self._people.issuperset(self._runner.server.connections)

    def _attach(self, content: Json, files: list[Json]) -> Json:
        """Put uploaded bytes into a person's message: as `photo` sizes, or as another kind of file."""
        for file in files:
            data = base64.b64decode(file["data"])
            if file["kind"] == "photo":
                content["photo"] = self.world.photo_sizes(data)
            else:
                stored = self.world.add_file(data, file.get("name", ""))
                content[file["kind"]] = {**stored, **file.get("fields", {})}
        return content

    def _flag(self, body: Json) -> bool:
        world, chat_id = self.world, body["chat_id"]
        match body["flag"]:
            case "blocked" | "unblocked":
                world.set_blocked(chat_id, body["flag"] == "blocked")
            case "deactivated":
                world.deactivated.add(chat_id)
            case "kicked":
                world.kicked.add(chat_id)
        return True


def _failure(refusal: Refusal) -> web.Response:
    body: Json = {"ok": False, "error_code": refusal.code, "description": refusal.description}
    if refusal.parameters:
        body["parameters"] = refusal.parameters
    return web.json_response(body, status=refusal.code)


@asynccontextmanager
async def running_server(port: int = 0) -> AsyncIterator[TelegramServer]:
    """A server on loopback for the length of a test."""
    server = TelegramServer()
    await server.start(port)
    try:
        yield server
    finally:
        await server.close()


async def _serve(port: int, token: str) -> None:
    server = TelegramServer(token)
    await server.start(port)
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Bot API server for tests; prints its address.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, options.token))
