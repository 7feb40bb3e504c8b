"""Engine speed at FLUX.1-dev's geometry on a GPU: diffusers as it comes, diffusers at its best, and ours.

    python -m benchmarks.flux_speed            # all parts, each within its budget: under 9 minutes
    python -m benchmarks.flux_speed --only draw switch
    python -m benchmarks.flux_speed --tiny --device cpu    # the same code in a minute, to see that it runs

Weights are random and made on the GPU; all parts run in one process on the same card, one after another. The
adapter has rank 16 on attention and feed-forward, as ours have. Writes benchmarks/results/flux_speed.md.
"""

import argparse
import datetime
import gc
import platform
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.commit import commit
from benchmarks.flux_training import random_base, random_dataset
from engine import flow
from engine.attention import Attention, choose, on_gpu
from engine.base_folder import BaseSettings
from engine.float8 import FrozenFloat8Linear
from engine.lean_blocks import compile_blocks
from engine.lora import TARGETS, Adapter, AdapterInfo, AdapterSlot, save_adapter
from engine.merging import Serving, has_kernel
from engine.models import Base, TextCondition
from engine.presets import recipe_for
from engine.recording import GraphRecorder
from engine.residency import set_recompute
from engine.shelf import AdapterShelf
from engine.tiers import TIERS
from engine.trainer import Training

RESULT = Path(__file__).parent / "results" / "flux_speed.md"
RANK, STEPS = 16, 28
WARM_CALLS = 3  # the second is recorded
MICRO_BATCHES = (2, 4)  # pictures of a training step, beside one
# Measured in bfloat16 on an H200: what a large product reaches. TFLOP of a forward pass: 12.91 GFLOP a token
# and 4 N^2 * 3072 * 57 for attention, N with 512 tokens of text.
PEAK_TFLOPS = 772
FORWARD_TFLOP = {512: 21.5, 768: 41.9, 1024: 74.4}
# Frozen linears: forward and the gradient of the input; attention's backward is 2.5 times its forward.
TRAINING_TFLOP = {512: 2 * 19.83 + 3.5 * 1.65, 1024: 2 * 59.49 + 3.5 * 14.87}
MOST_KERNELS = 40  # printed for each row
# Kernels by what their names hold, the first that fits; what fits none is the rest.
KERNELS = {
    "attention": ("flash", "fmha", "sdpa", "attention", "cudnn_generated"),
    "products": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "wgmma"),
}
GOALS = "2.6 s a picture, 9 s for four; 80 ms a step at 512 px, 260 at 1024; 20 ms a switch, 150 from a file"


@dataclass(frozen=True)
class Geometry:
    """Sizes of the transformer, and what is drawn and trained at."""

    config: dict[str, Any]
    text_tokens: int
    sides: tuple[int, int]  # small, large


FLUX = Geometry({}, 512, (512, 1024))
FLUX_CONFIG = {"guidance_embeds": True}
TINY = Geometry(
    {
        "num_layers": 1,
        "num_single_layers": 2,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (8, 12, 12),
    },
    16,
    (64, 128),
)


@dataclass
class Bench:
    """What all parts share."""

    geometry: Geometry
    device: torch.device
    tiny: bool
    deadline: float
    float8: tuple[bool, ...] = (False, True)  # ours without it, with it
    theirs: bool = True
    rows: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16, also on a CPU: the same rounding."""
        return torch.bfloat16

    def seconds(self, call: Callable[[], object], rounds: int = 5, warm: bool = True) -> float:
        """Median of some calls after one that warms; of one alone where the time is short."""
        if warm:
            call()
        self.wait()
        times = []
        for _ in range(1 if time.monotonic() > self.deadline else rounds):
            begun = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    def wait(self) -> None:
        """Until the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def note(self, text: str) -> None:
        """A remark below the tables, at once."""
        self.notes.append(text)
        print(f"- {text}", flush=True)

    def say(self, row: str) -> None:
        """A line of the table, at once."""
        self.rows.append(row)
        print(row, flush=True)

    def kernels(self, call: Callable[[], object]) -> str:
        """Milliseconds of a call's kernels: all, and by kind."""
        if self.device.type != "cuda":
            return "-"
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            call()
            self.wait()
        spent = dict.fromkeys([*KERNELS, "rest"], 0.0)
        events = sorted(profiled.key_averages(), key=lambda event: -event.self_device_time_total)
        for event in events[:MOST_KERNELS]:
            print(f"{event.self_device_time_total / 1000:8.2f} ms {event.count:6} times {event.key[:120]}")
        for event in events:
            kinds = [kind for kind, words in KERNELS.items() if any(word in event.key for word in words)]
            spent[kinds[0] if kinds else "rest"] += event.self_device_time_total / 1000
        return f"{sum(spent.values()):.0f} ({', '.join(f'{kind} {ms:.0f}' for kind, ms in spent.items())})"

    def recorder(self) -> GraphRecorder | None:
        """As the engine's resources give one."""
        return GraphRecorder(self.device) if self.device.type == "cuda" else None

    def memory_gib(self) -> float:
        """Most that was allocated since the last call."""
        if self.device.type != "cuda":
            return 0.0
        most = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return most


# ---------------------------------------------------------------- what is measured


def make_transformer(bench: Bench) -> Any:
    """Random weights of FLUX's size, made where they are used."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(bench.dtype)
    try:
        with bench.device:
            made = FluxTransformer2DModel(**{**bench.geometry.config, **FLUX_CONFIG})
    finally:
        torch.set_default_dtype(before)
    return made.to(bench.device, bench.dtype).requires_grad_(False).eval()


def make_base(bench: Bench, transformer: Any) -> Base:
    """As the engine has it, without encoders: `predict` alone is asked."""
    nothing: Any = SimpleNamespace()
    return Base(
        nothing, transformer, nothing, nothing, nothing, nothing, nothing, bench.device, bench.dtype, TIERS[0]
    )


def make_text(bench: Bench, transformer: Any) -> TextCondition:
    """Random states of a prompt, the same each time."""
    torch.manual_seed(1)
    config = transformer.config
    tokens = torch.randn(bench.geometry.text_tokens, config.joint_attention_dim, device=bench.device)
    pooled = torch.randn(config.pooled_projection_dim, device=bench.device)
    return TextCondition(tokens.to(bench.dtype), pooled.to(bench.dtype))


def make_adapter(bench: Bench, slot: AdapterSlot, seed: int, dtype: torch.dtype) -> Adapter:
    """Random in both halves, a few percent of the weights' size."""
    info = AdapterInfo(f"adapter-{seed}", f"person-{seed}", "random", RANK)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name in slot.names:
        tensor = torch.randn(slot.shape(name, RANK), generator=generator)
        tensors[name] = (tensor * (0.05 if name.endswith("lora_A") else 0.02)).to(bench.device, dtype)
    return Adapter(info, tensors)


def noise(bench: Bench, side_px: int, batch: int = 1, seed: int = 0) -> Tensor:
    """Packed latents."""
    tokens, generator = (side_px // 16) ** 2, torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, 64, generator=generator).to(bench.device)


@torch.no_grad()
def draw(bench: Bench, base: Base, text: TextCondition, side_px: int, pictures: int) -> Tensor:
    """All denoising steps of some pictures together: the engine does so where a step is fast enough."""
    sigmas = flow.inference_sigmas(STEPS if not bench.tiny else 2, 1.15)
    rows, passes = side_px // 8, len(sigmas) - 1
    made = torch.cat([noise(bench, side_px, seed=seed) for seed in range(pictures)])
    pooled = text.pooled.expand(passes * pictures, -1)
    known = base.modulation(sigmas[:-1].repeat_interleave(pictures), pooled, 3.5)
    for place, (sigma, after) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True)):
        given = None if known is None else known.view(passes, pictures, -1)[place]
        velocity = base.predict(
            made, torch.full((pictures,), sigma), [text] * pictures, rows, rows, 3.5, given
        )
        made = flow.euler_step(made, velocity, sigma, after)
    return made


@torch.no_grad()
def once(bench: Bench, base: Base, text: TextCondition, side_px: int, pictures: int = 1) -> Tensor:
    """One forward pass on fixed noise, for comparing."""
    rows, sigmas = side_px // 8, torch.full((pictures,), 0.5)
    known = base.modulation(sigmas, text.pooled.expand(pictures, -1), 3.5)
    given = noise(bench, side_px).expand(pictures, -1, -1)
    return base.predict(given, sigmas, [text] * pictures, rows, rows, 3.5, known).float()


def relative(made: Tensor, wanted: Tensor) -> float:
    """Relative error."""
    return float((made - wanted).norm() / wanted.norm())


def backend(bench: Bench) -> str:
    """On a CPU without the code generator: what counts there is that it runs."""
    return "inductor" if bench.device.type == "cuda" else "eager"


def plain(transformer: Any) -> Any:
    """The same weights in a transformer without branches and without compiled blocks."""
    import copy

    shared = (*transformer.parameters(), *transformer.buffers())
    return copy.deepcopy(transformer, {id(tensor): tensor for tensor in shared})


def with_peft(bench: Bench, transformer: Any, seed: int = 1) -> Any:
    """A copy of the transformer, its weights shared, with the same adapter unfused as peft has it."""
    from peft import LoraConfig

    copied = plain(transformer)
    copied.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights=False))
    for name, parameter in copied.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(bench.device, torch.float32)
    return copied


def load_peft(transformer: Any, adapter: Adapter) -> None:
    """The adapter's numbers into peft's branches, in their place: what hot-swapping does."""
    parameters = dict(transformer.named_parameters())
    with torch.no_grad():
        for name, tensor in adapter.tensors.items():
            parameters[f"{name}.default.weight"].copy_(tensor)


# ---------------------------------------------------------------- parts


def part_draw(bench: Bench, transformer: Any) -> None:
    """Pictures at the large side: eager and unfused, compiled and hot-swapped, merged and compiled."""
    side, text = bench.geometry.sides[1], make_text(bench, transformer)
    pristine = plain(transformer)
    slot = AdapterSlot(transformer, lean=True)
    base, one = make_base(bench, transformer), make_adapter(bench, slot, 1, bench.dtype)
    unfused = with_peft(bench, pristine)
    load_peft(unfused, one)
    for parameter in (p for n, p in unfused.named_parameters() if "lora_" in n):
        parameter.data = parameter.data.to(bench.dtype)  # the pipeline loads an adapter in its own type
    eager = make_base(bench, unfused)
    exact = once(bench, eager, text, side)
    first = second = None
    if bench.theirs:
        first = _draw_row(bench, "diffusers eager, unfused", eager, text, exact, None)
        # As diffusers offers it.
        unfused.compile_repeated_blocks(fullgraph=True, dynamic=False, backend=backend(bench))
        second = _draw_row(bench, "diffusers compiled, hot-swapped", eager, text, exact, first)
    del unfused, eager
    attention = _attention(bench, transformer)
    for fp8 in bench.float8:
        serving = Serving(base, slot, float8=fp8, recorder=bench.recorder())
        serving.around = attention.while_drawing
        compile_blocks(serving.base.transformer, backend(bench), dynamic=False)
        with serving.holding(one):
            label = f"ours: merged, compiled{', float8' if fp8 else ''}"
            _draw_row(bench, label, serving.base, text, exact, first, second)
        del serving
        free(bench)


def _draw_row(
    bench: Bench,
    label: str,
    base: Base,
    text: TextCondition,
    exact: Tensor,
    *others: float | None,
) -> float:
    """Measured pictures; also the ratio to what came before. Returns seconds of one picture."""
    side = bench.geometry.sides[1]
    begun = time.perf_counter()
    error = relative(once(bench, base, text, side), exact)
    for _ in range(WARM_CALLS):
        once(bench, base, text, side, pictures=4)
    bench.wait()
    warm = time.perf_counter() - begun
    single = bench.seconds(lambda: draw(bench, base, text, side, 1), rounds=2, warm=False)
    four = bench.seconds(lambda: draw(bench, base, text, side, 4), rounds=1, warm=False)
    share = FORWARD_TFLOP[1024] * STEPS / single / PEAK_TFLOPS
    ratios = " ".join(f"{other / single:.2f}x" for other in others if other is not None) or "1"
    kernels = bench.kernels(lambda: once(bench, base, text, side))
    bench.say(
        f"| {label} | {single:.2f} | {four:.2f} | {share:.0%} | {ratios} | {error:.4f} | {warm:.0f}"
        f" | {bench.memory_gib():.0f} | {kernels} |"
    )
    return single


def part_train(bench: Bench, transformer: Any) -> None:
    """Training steps at both sides: diffusers' recipe with checkpointing, and ours."""
    for side, name in zip(bench.geometry.sides, (512, 1024), strict=True) if bench.theirs else ():
        theirs = with_peft(bench, transformer)
        theirs.enable_gradient_checkpointing()
        trained = [p for n, p in theirs.named_parameters() if "lora_" in n]
        for parameter in trained:
            parameter.requires_grad_(True)
        # Its branches and their gradients in float32, beside bfloat16, as its script trains them.
        step = _their_step(bench, make_base(bench, theirs), trained, side)
        _train_row(bench, f"diffusers' recipe, {name} px", name, step)
        del theirs, trained, step
        free(bench)
    exact = _exact_gradient(bench, plain(transformer))
    slot = AdapterSlot(transformer, lean=True)
    base, attention = random_base(transformer, bench.device), _attention(bench, transformer)
    set_recompute(transformer, "none")
    launched = relative(_gradient(bench, base, slot), exact)
    bench.note(f"Gradient against diffusers' blocks, launched one by one: error {launched:.4f}.")
    compile_blocks(transformer, backend(bench), dynamic=None)
    with attention.while_training():
        for fp8 in bench.float8:
            if fp8:
                slot.compute_with(FrozenFloat8Linear)
            error = relative(_gradient(bench, base, slot), exact)
            bench.note(f"Gradient{' in float8' if fp8 else ''} against diffusers' blocks: error {error:.4f}.")
            for side, name in zip(bench.geometry.sides, (512, 1024), strict=True):
                label = f"ours{', float8' if fp8 else ''}, {name} px"
                _train_row(bench, label, name, _training(bench, base, slot, side).step)
                free(bench)
        for pictures in MICRO_BATCHES:  # in what was switched on last
            label = f"the same, 512 px, {pictures} pictures together"
            step = _training(bench, base, slot, bench.geometry.sides[0], pictures).step
            _train_row(bench, label, 512, step, pictures)
            free(bench)


def _training(bench: Bench, base: Base, slot: AdapterSlot, side_px: int, pictures: int = 1) -> Training:
    """The engine's own, with all that the preset `balanced` switches on."""
    recipe = replace(recipe_for("balanced", BaseSettings()), rank=RANK, batch_size=pictures)
    data = random_dataset(base, side_px, bench.geometry.text_tokens)
    accelerator = Accelerator(cpu=bench.device.type == "cpu", mixed_precision="no")
    info = AdapterInfo("a", "p", "random", RANK)
    return Training(
        base, slot, data, recipe, info, Path(tempfile.gettempdir()) / "nothing-there", 7, accelerator,
        recorder=bench.recorder(),
    )  # fmt: skip


def _their_step(
    bench: Bench, base: Base, parameters: list[torch.nn.Parameter], side_px: int
) -> Callable[[], None]:
    text, clean = make_text(bench, base.transformer), noise(bench, side_px, seed=3)
    target, sigma, rows = noise(bench, side_px, seed=4), torch.tensor([0.6]), side_px // 8
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)

    def step() -> None:
        noised = flow.noised(clean, target, sigma.to(bench.device))
        predicted = base.predict(noised, sigma, [text], rows, rows, 1.0)
        flow.velocity_loss(predicted, clean, target).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _gradient(bench: Bench, base: Base, slot: AdapterSlot) -> Tensor:
    """Of the adapter's numbers at the small side, in one vector."""
    side, text = bench.geometry.sides[0], make_text(bench, base.transformer)
    with slot.holding(make_adapter(bench, slot, 1, torch.float32)):
        predicted = base.predict(noise(bench, side), torch.tensor([0.6]), [text], side // 8, side // 8, 1.0)
        flow.velocity_loss(predicted, noise(bench, side, seed=3), noise(bench, side, seed=4)).backward()
        return slot.gradient(RANK)


def _exact_gradient(bench: Bench, transformer: Any) -> Tensor:
    """By diffusers' own blocks, launched one kernel after another."""
    set_recompute(transformer, "none")
    return _gradient(bench, random_base(transformer, bench.device), AdapterSlot(transformer))


def _train_row(bench: Bench, label: str, name: int, step: Callable[[], object], pictures: int = 1) -> None:
    begun = time.perf_counter()
    step()
    bench.wait()
    warm = time.perf_counter() - begun
    seconds = bench.seconds(step, rounds=10)
    share = pictures * TRAINING_TFLOP[name] / seconds / PEAK_TFLOPS
    gib, kernels = bench.memory_gib(), bench.kernels(step)
    bench.say(f"| {label} | {seconds * 1000:.0f} | {share:.0%} | {warm:.0f} | {gib:.0f} | {kernels} |")


def part_switch(bench: Bench, transformer: Any) -> None:
    """From one person to another: at hand on the GPU, from the host's memory, from a file."""
    slot = AdapterSlot(transformer, lean=True)
    base = make_base(bench, transformer)
    for fp8 in bench.float8:
        _switch(bench, base, slot, fp8)
        free(bench)


def _switch(bench: Bench, base: Base, slot: AdapterSlot, fp8: bool) -> None:
    serving = Serving(base, slot, float8=fp8)
    people = [make_adapter(bench, slot, seed, bench.dtype) for seed in (1, 2)]
    turn, into = [0], ", float8" if fp8 else ""

    def merge(get: Callable[[int], Adapter]) -> None:
        turn[0] += 1
        with serving.holding(get(turn[0] % 2)):
            pass

    at_hand = bench.seconds(lambda: merge(lambda i: people[i]))
    bench.say(f"| at hand, merged{into} | {at_hand * 1000:.1f} | |")
    moved = sum(each.weight.numel() for each in slot.linears.values()) * (3 if fp8 else 4)
    way = "by the kernel" if has_kernel(bench.device, fp8) else "one by one"
    bench.note(f"Merging {way}{into}: {moved / at_hand / 1e12:.2f} TB/s of weights read and written.")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{seed}.safetensors" for seed in (1, 2)]
        for path, person in zip(paths, people, strict=True):
            save_adapter(path, person, bench.dtype)
        size = 1 << 20
        for label, host in (("from the host's memory", 4 << 30), ("from a file", 0)):
            shelf = AdapterShelf(slot, "random", bench.device, bench.dtype, size, host)

            def get(index: int, shelf: AdapterShelf = shelf) -> Adapter:
                return shelf.get(f"adapter-{index + 1}", paths[index])

            def read(get: Callable[[int], Adapter] = get) -> None:
                turn[0] += 1
                get(turn[0] % 2)

            whole, reading = (bench.seconds(call) * 1000 for call in (lambda: merge(get), read))
            bench.say(f"| {label}, read and merged{into} | {whole:.1f} | {reading:.1f} |")
    fresh = Serving(base, slot, float8=fp8)
    for _ in range(20 if bench.tiny else 100):
        merge(lambda i: people[i])
    with serving.holding(people[0]), fresh.holding(people[0]):
        mine, theirs = serving.base.transformer.state_dict(), fresh.base.transformer.state_dict()
        same = all(torch.equal(_bits(weight), _bits(theirs[name])) for name, weight in mine.items())
    bench.note(f"After {turn[0]} switches{into} the weights are a fresh merge's, bit for bit: {same}.")


def _bits(weight: Tensor) -> Tensor:
    return weight.contiguous().view(torch.uint8)


def _attention(bench: Bench, transformer: Any) -> Attention:
    if bench.device.type != "cuda":
        return Attention()
    config = transformer.config
    lengths = [(side // 16) ** 2 + bench.geometry.text_tokens for side in reversed(bench.geometry.sides)]
    heads, width = config.num_attention_heads, config.attention_head_dim
    chosen = choose(bench.device, bench.dtype, heads, width, lengths, on_gpu)
    bench.note(f"Attention by measurement: {chosen.training} in training, {chosen.drawing} in drawing.")
    return chosen


# ---------------------------------------------------------------- the program


FLOAT8 = {"off": (False,), "only": (True,), "too": (False, True)}
HEADS = {
    "draw": "| 28 steps, 1024 px, rank 16 | 1 picture, s | 4 pictures, s | of the limit | times as fast as"
    " the rows above | relative error | first call, s | GiB | a step's kernels, ms |\n"
    "|---|---|---|---|---|---|---|---|---|",
    "train": "| training step, rank 16 | ms | of the limit | first call, s | GiB | its kernels, ms |\n"
    "|---|---|---|---|---|---|",
    "switch": "| switching people | ms | of it reading, ms |\n|---|---|---|",
}


def free(bench: Bench) -> None:
    """Give back what nobody holds."""
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def surviving(bench: Bench, part: str) -> Iterator[None]:
    """What goes wrong in one part must not cost the others."""
    begun = time.monotonic()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - said, and the next part runs
        traceback.print_exc()
        bench.say(f"| {part} failed: {type(error).__name__}: {str(error)[:200]} |")
    finally:
        bench.note(f"{part}: {time.monotonic() - begun:.0f} s.")
        torch._dynamo.reset()
        free(bench)


def run(bench: Bench, parts: list[str], budget: float) -> None:
    """Each part with a transformer of its own, while there is time."""
    ends = time.monotonic() + budget
    torch._dynamo.config.recompile_limit = 64
    for place, part in enumerate(parts):
        left = ends - time.monotonic()
        if left < 20 and not bench.tiny:
            bench.note(f"{part} was left out: no time.")
            continue
        bench.deadline = time.monotonic() + left / (len(parts) - place)
        bench.say(f"\n{HEADS[part]}")
        # Its backward pass ended processes: whoever trains goes without.
        torch.backends.cuda.enable_cudnn_sdp(part != "train")
        with surviving(bench, part):
            transformer = make_transformer(bench)
            bench.memory_gib()
            with torch.no_grad() if part != "train" else nullcontext():
                if part == "draw":
                    part_draw(bench, transformer)
                elif part == "train":
                    part_train(bench, transformer)
                else:
                    part_switch(bench, transformer)
            del transformer
        if not bench.tiny:
            RESULT.write_text(page(bench))


def page(bench: Bench) -> str:
    """What is written down."""
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else platform.machine()
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "diffusers", "peft"))
    return "\n".join(
        [
            "# Engine speed at FLUX.1-dev's geometry",
            "",
            f"{datetime.datetime.now(datetime.UTC).date()}, commit {commit()}, {name}, {versions}. Random"
            f" weights{', TINY: the figures mean nothing' if bench.tiny else ''}. The limit is {PEAK_TFLOPS}"
            " TFLOP/s in bfloat16. Again: `python -m benchmarks.flux_speed`.",
            "",
            f"Goals: {GOALS}.",
            *bench.rows,
            "",
            *(f"- {note}" for note in bench.notes),
            "",
        ]
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=sorted(HEADS), default=["draw", "switch", "train"])
    parser.add_argument(
        "--float8", choices=sorted(FLOAT8), default="too", help="ours without it, with it, or both"
    )
    parser.add_argument("--ours-only", action="store_true", help="leave diffusers out: no ratios")
    parser.add_argument("--budget", type=float, default=500, help="seconds for all parts")
    parser.add_argument("--tiny", action="store_true", help="a small geometry, to see that it runs")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    geometry = TINY if options.tiny else FLUX
    bench = Bench(geometry, torch.device(options.device), options.tiny, time.monotonic() + options.budget)
    bench.float8, bench.theirs = FLOAT8[options.float8], not options.ours_only
    run(bench, options.only, options.budget)
    print(f"\n{page(bench)}")


if __name__ == "__main__":
    main()
