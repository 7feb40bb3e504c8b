"""Mends Triton's interpreter where it is imported: it takes bfloat16 for whole numbers in products, does not
round to it, and rounds to float8 in its own way; and newer versions of numpy take its bounds of loops for no
numbers. Only where there is Triton, and with TRITON_INTERPRET=1."""

from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

ROUNDED = {tl.bfloat16: (torch.bfloat16, torch.uint16), tl.float8e4nv: (torch.float8_e4m3fn, torch.uint8)}


def wide(handle: Any) -> Any:
    known = handle.dtype.scalar == tl.bfloat16
    return (handle.data.astype(np.uint32) << 16).view(np.float32) if known else handle.data


def dot(self: Any, one: Any, two: Any, before: Any, *_: Any) -> Any:
    return TensorHandle(np.matmul(wide(one), wide(two)) + before.data, before.dtype.scalar)


def rounded(self: Any, handle: Any, kind: Any, *_: Any) -> Any:
    dtype, bits = ROUNDED[kind.scalar]
    return TensorHandle(torch.from_numpy(handle.data).to(dtype).view(bits).numpy(), kind.scalar)


def patched(tensor: Any, scope: Any, patch: Any = interpreter._patch_lang_tensor) -> None:
    patch(tensor, scope)
    tensor.__index__ = lambda self: self.handle.data.item()


InterpreterBuilder.create_dot, InterpreterBuilder.create_fp_trunc = dot, rounded
InterpreterBuilder.create_fp_to_fp, interpreter._patch_lang_tensor = rounded, patched
