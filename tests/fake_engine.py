"""A process that speaks the engine's protocol and computes nothing: `tests/fake_engine.py --config JSON`.

What it does is told by the first line of each photo (`good`, `bad`, `crash`, `crash-once`, `fail`, `retry`,
`hang`) or, for trainings and shoots, by the file named in FAKE_ENGINE_SCRIPT, one word a request.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.messages import (
    AdapterTrained,
    Cancel,
    CheckPhoto,
    Failed,
    HeadshotsMade,
    MakeHeadshots,
    NotReady,
    PhotoChecked,
    Picture,
    Progress,
    Ready,
    TrainAdapter,
    decode,
    encode,
)

DIARY = Path(os.environ.get("FAKE_ENGINE_DIARY", os.devnull))
SCRIPT = Path(os.environ.get("FAKE_ENGINE_SCRIPT", os.devnull))


def say(reply: object) -> None:
    print(encode(reply), flush=True)  # type: ignore[arg-type]


def note(line: str) -> None:
    with DIARY.open("a") as diary:
        diary.write(line + "\n")


def next_word() -> str:
    words = SCRIPT.read_text().split() if SCRIPT.is_file() else []
    if words:
        SCRIPT.write_text(" ".join(words[1:]))
    return words[0] if words else "good"


def ended(id: str, word: str) -> bool:
    """Whether the script says that this request has no result."""
    match word:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            say(Failed(id, "not_enough_selfies"))
        case "retry":
            say(Failed(id, "out_of_memory", retry=True))
        case "hang":
            hanging.add(id)
        case _:
            return False
    return True


def check(request: CheckPhoto) -> None:
    data = Path(request.path).read_bytes()
    word = data.split(b"\n")[0].decode(errors="replace")  # of a real photo: nothing that is known
    if word == "crash-once":
        word = "good" if request.id.endswith("/2") else "crash"
    if ended(request.id, word):
        return
    note(f"check {request.photo_id} {','.join(sorted(request.others))}")
    if word == "bad":
        verdicts = {request.photo_id: {"verdict": "refused", "problems": ["no_face"]}}
        say(PhotoChecked(request.id, request.photo_id, verdicts))
        return
    Path(request.clean_path).write_bytes(b"clean " + data)
    verdicts = {request.photo_id: {"verdict": "accepted", "problems": []}}
    say(PhotoChecked(request.id, request.photo_id, verdicts, facts={"hash": len(data)}))


def train(request: TrainAdapter) -> None:
    if ended(request.id, next_word()):
        return
    work = Path(request.work_dir)
    work.mkdir(exist_ok=True)
    resumed = (work / "checkpoint").exists()
    (work / "checkpoint").write_text("1")
    note(f"train {request.adapter_id} {len(request.photos)} {'resumed' if resumed else 'fresh'}")
    say(Progress(request.id, "training", 0.5, eta_seconds=1.0))
    if (word := next_word()) != "good" and ended(request.id, word):
        return
    Path(request.adapter_path).write_bytes(b"weights of " + request.person_id.encode())
    say(AdapterTrained(request.id, request.adapter_id, request.adapter_path, 10, 1.0, "good"))


def shoot(request: MakeHeadshots) -> None:
    if ended(request.id, next_word()):
        return
    out = Path(request.out_dir)
    out.mkdir(exist_ok=True)
    weights = Path(request.adapter_path).read_bytes()
    pictures = []
    for index in range(request.count):
        path = out / f"{index}.png"
        path.write_bytes(b"picture %d by " % index + weights)
        seed = request.seed + index
        pictures.append(Picture(str(path), seed, 64, 64, 0.5, {"seeds": [seed], "identity": ""}))
    liked, disliked = ([facts["seeds"] for facts in each] for each in (request.liked, request.disliked))
    note(
        f"shoot {request.count} liked {liked} disliked {disliked}"
        if liked or disliked
        else f"shoot {request.count}"
    )
    say(HeadshotsMade(request.id, tuple(pictures), 0.5, tried=2 * request.count, reached=request.count))


hanging: set[str] = set()


def main() -> None:
    note(f"start {json.loads(sys.argv[2])['base']} {sorted(key for key in os.environ if 'TOKEN' in key)}")
    if (word := os.environ.get("FAKE_ENGINE_START", "")) == "not-ready":
        say(NotReady(reason="base_unusable", sentence="The base is missing. Put it there."))
        sys.exit(3)
    elif word == "slow":
        time.sleep(0.5)
    say(Ready(facts={"base": "fake"}))
    for line in sys.stdin:
        request = decode(line)
        match request:
            case CheckPhoto():
                check(request)
            case TrainAdapter():
                train(request)
            case MakeHeadshots():
                shoot(request)
            case Cancel():
                note("cancel")
                hanging.discard(request.target_id)
                say(Failed(request.target_id, "cancelled"))
            case _:
                note(type(request).__name__)


if __name__ == "__main__":
    main()
