"""The gateway of our small Discord: https://discord.com/developers/docs/events/gateway.

HELLO, IDENTIFY, READY, heartbeats that must come, events with numbers, RESUME from a number, compression as a
zlib stream where the bot asks for it. One session; what happens while no bot is connected is lost, except for
a session that is resumed.
"""

import asyncio
import json
import zlib
from typing import Any

from aiohttp import WSMsgType, web

from tests.servers.discord_world import BOT, BOT_ID, Json, World

HEARTBEAT_MS = 41_250
PRIVILEGED = (1 << 1) | (1 << 8) | (1 << 15)  # members, presences, message content


class Gateway:
    """The gateway of one bot."""

    def __init__(self, world: World, token: str) -> None:
        self._world, self._token, self.address = world, token, ""
        self._events: list[Json] = []  # of the session, by number - 1
        self._session = ""
        self._socket: web.WebSocketResponse | None = None
        self._deflate: Any = None
        self._sending = asyncio.Lock()
        self.ready = asyncio.Event()
        self.intents = 0
        self.identified = self.resumed = self.heartbeats = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self._socket = socket
        self._deflate = zlib.compressobj() if request.query.get("compress") == "zlib-stream" else None
        await self._send({"op": 10, "d": {"heartbeat_interval": HEARTBEAT_MS}})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            await self._received(socket, json.loads(message.data))
        if self._socket is socket:
            self._socket = None
            self.ready.clear()
        return socket

    async def _received(self, socket: web.WebSocketResponse, message: Json) -> None:
        match message["op"]:
            case 1:
                self.heartbeats += 1
                await self._send({"op": 11})
            case 2:
                await self._identify(socket, message["d"])
            case 6:
                await self._resume(message["d"])

    async def _identify(self, socket: web.WebSocketResponse, wanted: Json) -> None:
        if wanted["token"] != self._token:
            await socket.close(code=4004, message=b"Authentication failed.")
            return
        self.intents = int(wanted["intents"])
        if self.intents & PRIVILEGED:
            await socket.close(code=4014, message=b"Disallowed intent(s).")
            return
        self.identified += 1
        self._session, self._events = f"session-{self.identified}", []
        guilds = list(self._world.guilds.values())
        await self.dispatch(
            "READY",
            {
                "v": 10,
                "user": BOT,
                "guilds": [{"id": guild["id"], "unavailable": True} for guild in guilds],
                "session_id": self._session,
                "resume_gateway_url": self.address,
                "application": {"id": BOT_ID, "flags": 0},
                "shard": wanted.get("shard", [0, 1]),
            },
        )
        for guild in guilds:
            await self.dispatch("GUILD_CREATE", guild)
        self.ready.set()

    async def _resume(self, wanted: Json) -> None:
        if wanted["token"] != self._token or wanted["session_id"] != self._session:
            await self._send({"op": 9, "d": False})
            return
        self.resumed += 1
        for event in self._events[int(wanted["seq"]) :]:
            await self._send(event)
        self.ready.set()
        await self.dispatch("RESUMED", {})

    async def dispatch(self, name: str, data: Any) -> None:
        """An event; kept for a session that may be resumed."""
        if not self._session:
            return
        event = {"op": 0, "s": len(self._events) + 1, "t": name, "d": data}
        self._events.append(event)
        if self._socket is not None:
            await self._send(event)

    def forget(self) -> None:
        """The session cannot be resumed any more."""
        self._session = "forgotten"

    async def drop(self, code: int = 4000) -> None:
        """The connection breaks. After 4000 the session can be resumed."""
        socket, self._socket = self._socket, None
        self.ready.clear()
        if socket is not None:
            await socket.close(code=code)

    async def _send(self, message: Json) -> None:
        socket, text = self._socket, json.dumps(message)
        if socket is None or socket.closed:
            return
        async with self._sending:
            if self._deflate is None:
                await socket.send_str(text)
            else:
                packed = self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
                await socket.send_bytes(packed)
