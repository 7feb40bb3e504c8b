"""Adapters that were used lately, where they are fast to reach: first on the GPU, then in the host's memory.

Both shelves are bounded in bytes. As adapters do not change, the copy in the host's memory is made once, when
an adapter first leaves the GPU, and stays while there is room, also when the adapter is back. An adapter is
known by its id and the digest of its weights, so that one that comes as another copy of the same file is not
read again, and one that was trained anew is.
"""

import logging
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import AdapterCorrupt
from engine.lora import Adapter, AdapterInfo, AdapterSlot, load_adapter, packed, read_header, unpacked

log = logging.getLogger(__name__)

# By id, then by digest or, where a file has none, by place and state.
_Key = tuple[str, ...]


class AdapterShelf:
    """Adapters for drawing, in the type that the base computes in. They are not to be changed."""

    def __init__(
        self,
        slot: AdapterSlot,
        base_revision: str,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        device_bytes: int = 1 << 30,
        host_bytes: int = 4 << 30,
    ) -> None:
        """At least the adapter in use is kept whatever `device_bytes`. `host_bytes` are for copies of those
        that had to leave the device; on a CPU there is one shelf alone."""
        self._slot, self._base_revision, self._device, self._dtype = slot, base_revision, device, dtype
        self._device_bytes = device_bytes
        self._host_bytes = host_bytes if device.type != "cpu" else 0
        self._near: OrderedDict[_Key, Adapter] = OrderedDict()
        self._far: OrderedDict[_Key, tuple[AdapterInfo, Tensor]] = OrderedDict()

    def get(self, adapter_id: str, path: Path) -> Adapter:
        """The adapter of that id in that file. Raises AdapterCorrupt, also where the file is another's."""
        key = self._key(adapter_id, path)
        if key not in self._near:
            self._near[key] = self._back(key) or self._read(path)
        self._near.move_to_end(key)
        self._trim()
        return self._near[key]

    def forget(self, adapter_id: str) -> None:
        """Drop everything of an adapter."""
        for key in [key for key in self._near if key[0] == adapter_id]:
            del self._near[key]
        for key in [key for key in self._far if key[0] == adapter_id]:
            del self._far[key]

    def clear(self) -> None:
        """Drop everything."""
        self._near.clear()
        self._far.clear()

    def _key(self, adapter_id: str, path: Path) -> _Key:
        try:
            status = path.stat()
        except OSError as error:
            raise AdapterCorrupt(str(path), f"cannot be read ({error.strerror})") from error
        info, digest = read_header(path)
        if info.adapter_id != adapter_id:
            raise AdapterCorrupt(str(path), f"is adapter {info.adapter_id}, not {adapter_id}")
        # What is said of the weights can change without them, as a report does.
        said = info.to_json()
        if digest:
            return adapter_id, digest, said
        return adapter_id, str(path), str(status.st_mtime_ns), str(status.st_size), said

    def _read(self, path: Path) -> Adapter:
        return load_adapter(path, self._slot, self._base_revision, self._device, self._dtype)

    def _back(self, key: _Key) -> Adapter | None:
        """From the host's memory. Whoever uses it on the device waits for it there."""
        if key not in self._far:
            return None
        info, flat = self._far[key]
        return unpacked(info, flat.to(self._device, non_blocking=True), self._slot)

    def _trim(self) -> None:
        while len(self._near) > 1 and sum(map(num_bytes, self._near.values())) > self._device_bytes:
            self._keep(*self._near.popitem(last=False))
        while sum(flat.nbytes for _, flat in self._far.values()) > self._host_bytes:
            spare = next((key for key in self._far if key in self._near), None)
            del self._far[spare or next(iter(self._far))]

    def _keep(self, key: _Key, adapter: Adapter) -> None:
        """In the host's memory."""
        if key not in self._far and num_bytes(adapter) <= self._host_bytes:
            self._far[key] = (adapter.info, _on_host(packed(adapter, self._slot)))
        if key in self._far:
            self._far.move_to_end(key)


def num_bytes(adapter: Adapter) -> int:
    """Of its tensors."""
    return sum(tensor.nbytes for tensor in adapter.tensors.values())


def _on_host(flat: Tensor) -> Tensor:
    """A copy, not to be read by the CPU. In locked pages where there are any: a GPU then copies at its full
    rate, and nobody waits for it."""
    try:
        copy = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    except RuntimeError as error:  # also where there is no GPU
        log.info("pages_not_locked", extra={"problem": str(error)[:200]})
        copy = torch.empty(flat.shape, dtype=flat.dtype)
    return copy.copy_(flat, non_blocking=copy.is_pinned())
