"""A small Discord over a real websocket and real HTTP, for tests: honest about limits and deadlines.

It serves what Likeness uses: the gateway (`discord_gateway`), the HTTP API (`discord_api`) with the limits of
`discord_rules`, and files. Faults are ordered through `/control/fault`, time is moved through
`/control/advance`. People are played through `tests.servers.discord_people`, over HTTP too, so that the bot
under test may be another process and may be killed: `python -m tests.servers.discord_server --port 8082`,
with `api_url = "http://127.0.0.1:8082/api/v10"` in `[discord]`.
"""

import argparse
import asyncio
import base64
import fnmatch
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.discord_api import ROUTES, Call, Handler, parsed
from tests.servers.discord_gateway import Gateway
from tests.servers.discord_persons import VERBS, Persons
from tests.servers.discord_rules import Refusal
from tests.servers.discord_world import Json, World

TOKEN = "OTAwMDAwMDAwMDAwMDAwMDAx.test-token.of-nobody"
PREFIX = "/api/v10"
WITHOUT_TOKEN = ("/interactions/", "/webhooks/")


@dataclass
class Fault:
    """Something that goes wrong with the next `times` calls whose "METHOD /path" matches the pattern `call`.

    kind: `refuse` answers `status`, `code`, `headers` and does nothing; `drop` closes the connection and does
    nothing; `swallow` does what was asked and closes the connection; `slow` does it after `seconds`.
    """

    call: str
    kind: str = "refuse"
    times: int = 1
    skip: int = 0  # calls that pass before
    status: int = 500
    code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    seconds: float = 0.0


class DiscordServer:
    """The server; `url` once it runs, `api_url` for `[discord]`."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token, self.world, self.url = token, World(), ""
        self.gateway = Gateway(self.world, token)
        self.persons = Persons(self.world, self.gateway)
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._routes = [(method, _pattern(path), handler) for (method, path), handler in ROUTES.items()]
        self._runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        return self.url + PREFIX

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=200 * 1024 * 1024)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/gateway/", self.gateway.serve)
        app.router.add_route("*", PREFIX + "/{path:.*}", self._api)
        app.router.add_get("/files/{path:.*}", self._file)
        app.router.add_post("/control/{verb}", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        self.url, self.gateway.address = f"http://{host}", f"ws://{host}/gateway"
        self.world.address = f"{self.url}/files"

    async def close(self) -> None:
        await self.gateway.drop(1001)
        if self._runner:
            await self._runner.cleanup()

    # ------------------------------------------------------------ the bot's side

    async def _api(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PREFIX)
        self.requests.append(f"{request.method} {path}")
        fault = self._fault(f"{request.method} {path}")
        body, files = await _content(request)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        try:
            if fault and fault.kind == "refuse":
                raise Refusal(fault.status, fault.code, "ordered", fault.headers, fault.extra)
            if fault and fault.kind == "drop":
                return _dropped(request)
            handler, at = self._handler(request, path)
            answer = handler(
                Call(
                    self.world,
                    self.gateway.address,
                    at,
                    body,
                    files,
                    request.query.get("with_response") == "1",
                )
            )
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message, **refusal.extra}
            return _json(error, refusal.status, refusal.headers)
        if fault and fault.kind == "swallow":
            return _dropped(request)
        return web.Response(status=204) if answer is None else _json(answer)

    def _handler(self, request: web.Request, path: str) -> tuple[Handler, dict[str, str]]:
        allowed = request.headers.get("Authorization") == f"Bot {self.token}"
        if not allowed and not path.startswith(WITHOUT_TOKEN):
            raise Refusal(401, 0, "401: Unauthorized")
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                return handler, match.groupdict()
        raise Refusal(404, 0, "404: Not Found")

    def _fault(self, call: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fnmatch.fnmatch(call, fault.call):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    async def _file(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        fault = self._fault(f"GET /files/{path}")
        if fault:
            return web.Response(status=fault.status, headers=fault.headers)
        if path not in self.world.files or path in self.world.dead_files:
            return web.Response(status=404)
        return web.Response(body=self.world.files[path])

    # ------------------------------------------------------------ the tests' side

    async def _control(self, request: web.Request) -> web.Response:
        verb, body = request.match_info["verb"], await request.json()
        try:
            if verb in VERBS:
                return web.json_response(await VERBS[verb](self.persons, **body))
            return web.json_response(await self._order(verb, body))
        except LookupError as error:
            return web.json_response({"error": str(error)}, status=409)

    async def _order(self, verb: str, body: Json) -> Any:
        match verb:
            case "fault":
                self.faults.append(Fault(**body))
            case "advance":
                self.world.skew_seconds += float(body["seconds"])
            case "drop":
                await self.gateway.drop(**body)
            case "expire_files":
                self.world.dead_files |= set(self.world.files)
            case "file":
                path = body["url"].removeprefix(f"{self.world.address}/").partition("?")[0]
                return base64.b64encode(self.world.files[path]).decode()
            case "state":
                gateway = self.gateway
                return {
                    "connected": gateway.ready.is_set(),
                    "intents": gateway.intents,
                    "identified": gateway.identified,
                    "resumed": gateway.resumed,
                    "heartbeats": gateway.heartbeats,
                    "requests": self.requests,
                    "commands": self.world.commands,
                }
            case _:
                raise LookupError(verb)
        return None


async def _content(request: web.Request) -> tuple[Any, list[tuple[str, str, bytes]]]:
    """The JSON, and the files of a multipart request."""
    if not request.content_type.startswith("multipart/"):
        return parsed(await request.text()), []
    body: Any = {}
    files: list[tuple[str, str, bytes]] = []
    async for part in await request.multipart():
        data = bytes(await part.read())
        if part.name == "payload_json":
            body = parsed(data.decode())
        else:
            name = part.filename or "file"
            kind = "image/png" if name.endswith(".png") else "image/jpeg"
            files.append((name, kind if name.endswith((".png", ".jpg")) else "application/zip", data))
    return body, files


def _json(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Discord names no charset, and discord.py takes nothing else for JSON."""
    body = json.dumps(answer).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))


def _dropped(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.close()
    return web.Response(status=500)


@asynccontextmanager
async def running_server(port: int = 0) -> AsyncIterator[DiscordServer]:
    """A server on loopback for the length of a test."""
    server = DiscordServer()
    await server.start(port)
    try:
        yield server
    finally:
        await server.close()


async def _serve(port: int, token: str) -> None:
    server = DiscordServer(token)
    await server.start(port)
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A small Discord for tests; prints its address.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, options.token))
