"""The command line: `likeness demo|chat|run|bot|worker|doctor`.

One error boundary for all: what only the operator can mend becomes one sentence and exit status 2; a fault of
our own becomes one sentence and status 1, its trace goes to the log.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bot import log
from bot.config import Settings, load
from bot.errors import OperatorError
from bot.supervision import OPERATOR_EXIT, stop_on_signals

INTERRUPTED_EXIT = 130
_SERVICES = ("run", "bot", "worker")  # what they say goes to a log rather than to a person


def main() -> None:
    """The `likeness` program."""
    sys.exit(guarded(parser().parse_args()))


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(prog="likeness", description="A headshot studio that lives in a chat.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, action: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="settings (default: config.toml here)"
        )
        command.set_defaults(action=action)
        return command

    demo = add("demo", _demo, "Play one person's whole journey in this terminal, without any token.")
    demo.add_argument(
        "--selfies", type=Path, metavar="DIR", help="photos of one person (default: a synthetic one's)"
    )
    demo.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("demo-output"), help="where pictures go"
    )
    demo.add_argument("--keep", action="store_true", help="keep the demo's data folder")
    chat = add("chat", _chat, "Talk to it yourself in this terminal, without any token.")
    chat.add_argument(
        "--out", type=Path, metavar="DIR", help="where pictures go (default: in the data folder)"
    )
    add("run", _run, "Run everything: bot, workers and engines, and a Redis if none is configured.")
    add("bot", _bot, "Run the chat process alone.")
    add("worker", _worker, "Run the workers alone, one with its engine for each GPU.")
    add("doctor", _doctor, "Say what is missing and how to mend it.")
    return top


def guarded(arguments: argparse.Namespace) -> int:
    """Run a command; its exit status."""
    log.setup(arguments.command, "INFO")
    try:
        status: int = arguments.action(arguments)
    except OperatorError as error:
        _complain(arguments.command, str(error))
        return OPERATOR_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except Exception as error:  # the process's one error boundary
        logging.getLogger(__name__).critical("unexpected failure", exc_info=error)
        _complain(arguments.command, "This is a fault of Likeness itself; the log above has the details.")
        return 1
    return status


def _complain(command: str, sentence: str) -> None:
    if command in _SERVICES and not sys.stderr.isatty():
        logging.getLogger(__name__).error(sentence)
    else:
        print(f"likeness: {sentence}", file=sys.stderr)


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = load(arguments.config)
    secrets = [value.get_secret_value() for value in settings.secrets.values()]
    log.setup(arguments.command, settings.bot.log_level, secrets)
    return settings


def _demo(arguments: argparse.Namespace) -> int:
    from bot.demo import play

    settings = load(arguments.config)
    return asyncio.run(play(settings, arguments.selfies, arguments.out, keep=arguments.keep))


def _chat(arguments: argparse.Namespace) -> int:
    from bot.terminal_chat import talk

    return asyncio.run(talk(_settings(arguments), arguments.config, arguments.out))


def _run(arguments: argparse.Namespace) -> int:
    from bot.studio import serve_chats

    settings = _settings(arguments)

    async def serve() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await serve_chats(settings, arguments.config, stop)

    asyncio.run(serve())
    return 0


def _bot(arguments: argparse.Namespace) -> int:
    from bot.application import Application, chat_platforms
    from bot.embedded import claim

    settings = _settings(arguments)

    async def serve() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        platforms = chat_platforms(settings)
        with contextlib.ExitStack() as duties:
            for name in platforms:
                duties.enter_context(claim(settings, name))
            await Application(settings, platforms).run(stop)

    asyncio.run(serve())
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    from bot.devices import share_out
    from bot.studio import workers
    from bot.supervision import Supervisor

    settings = _settings(arguments)  # mistakes are said here, before anything starts
    children = workers(share_out(settings.engine.device), arguments.config)
    if len(children) == 1:
        # It needs the engine's side, which the chat process never loads: become another program.
        environ = {**os.environ, **children[0].environ}
        os.execve(sys.executable, list(children[0].command), environ)  # noqa: S606  no shell is what we want

    async def serve() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await Supervisor(children).run(stop)

    asyncio.run(serve())
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from bot.doctor import report

    return asyncio.run(report(arguments.config))


if __name__ == "__main__":
    main()
