"""What an operator may watch: numbers of one engine since its start, in a text file that Prometheus reads
through its node exporter. Nothing of any person is in it."""

import logging
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, write_to_textfile

log = logging.getLogger(__name__)

WRITE_SECONDS = 15.0
# Of a quantum: nobody is to be kept from the GPU for longer than half a second.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Of one engine. The file is written whole: after each request, and now and then while there is work."""

    def __init__(self, folder: str, device: str) -> None:
        """folder: empty = nothing is written. device: tells the engines of one host apart."""
        self._path = Path(folder) / f"engine-{device}.prom" if folder else None
        self._registry = CollectorRegistry()
        self._written_at = -WRITE_SECONDS
        self._device, all_of, kind = device, self._registry, ("device", "kind")
        self._quanta = Histogram(
            "likeness_quantum_seconds", "Of the GPU, by work.", kind, buckets=BOUNDS, registry=all_of
        )
        self._in_hand = Gauge("likeness_requests_in_hand", "Begun or waiting.", kind, registry=all_of)
        self._ended = Counter(
            "likeness_requests_ended", "By what came of them.", (*kind, "outcome"), registry=all_of
        )
        self._steps_down = Counter(
            "likeness_steps_down", "Work that had too little memory.", kind, registry=all_of
        )
        self._recompiles = Gauge(
            "likeness_recompiles", "Compiled since the warm-up.", ("device",), registry=all_of
        )
        self._recompiles.labels(device)

    def ran(self, kind: str, seconds: float) -> None:
        """A quantum is over."""
        self._quanta.labels(self._device, kind).observe(seconds)
        if time.monotonic() - self._written_at > WRITE_SECONDS:
            self.write()

    def begun(self, kind: str) -> None:
        """A request came."""
        self._in_hand.labels(self._device, kind).inc()

    def ended(self, kind: str, outcome: str, recompiles: int) -> None:
        """A request is answered. outcome: `done`, `cancelled`, or the reason why it failed."""
        self._in_hand.labels(self._device, kind).dec()
        self._ended.labels(self._device, kind, outcome).inc()
        self._recompiles.labels(self._device).set(recompiles)
        self.write()

    def stepped_down(self, kind: str) -> None:
        """Some work had too little memory and begins again with less."""
        self._steps_down.labels(self._device, kind).inc()

    def write(self) -> None:
        """A disk that is full ends no engine."""
        self._written_at = time.monotonic()
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:
            log.warning("metrics_not_written", extra={"problem": str(error)})
