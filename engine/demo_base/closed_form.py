"""An autoencoder by least squares: where the decoder's training starts, and a good one without any.

`AutoencoderKL` is bent into a linear map. Residual branches end in zeros, so blocks pass their input on.
The encoder's strided convolutions move pixels into channels and its last layer projects them on the
patches' components. The decoder goes back through 64, 128 and 256 px, each convolution fitted by least
squares to the picture's patches at that level. GroupNorm and SiLU in the last layers are made transparent:
a large constant in each group fixes the group's spread, and a large bias keeps SiLU in its straight part.
"""

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from engine.demo_base.architecture import DEMO, LATENT_CHANNELS, make_autoencoder
from engine.demo_base.patches import Patches

LOUD = 64.0
"""The constant that fixes a group's spread, against signals of about 1."""
STRAIGHT = 24.0
REACH = 16.0
"""Signals are stretched to +-REACH around STRAIGHT, where SiLU(x) is x to within .003: the wider, the
finer the steps that bfloat16 leaves."""


@torch.no_grad()
def fit_autoencoder(patches: Patches, pictures: Tensor) -> AutoencoderKL:
    """`pictures`: (n, 3, 256, 256) in -1..1, a few dozen are enough."""
    vae = make_autoencoder(DEMO)
    for module in vae.modules():
        if hasattr(module, "conv2"):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(_bias(module.conv2))
    _fit_encoder(vae, patches, patches.encode(pictures).abs().amax((0, 2, 3)))
    _fit_decoder(vae, patches, pictures)
    return vae.eval()


def _fit_encoder(vae: AutoencoderKL, patches: Patches, reach: Tensor) -> None:
    encoder = vae.encoder
    _point(encoder.conv_in, torch.eye(3))
    channels = 3
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                _point(resnet.conv_shortcut, torch.eye(channels))
        if not block.downsamplers:
            continue
        convolution = block.downsamplers[0].conv  # pads right and below: taps 0 and 1 are the 2x2 patch
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(_bias(convolution))
        if channels < 48:
            for c in range(channels):
                for tap in range(4):
                    convolution.weight[c * 4 + tap, c, tap // 2, tap % 2] = 1
            channels *= 4
        else:
            _project_last(convolution, patches)
    _transparent(encoder.conv_norm_out, encoder.mid_block.resnets[-1].conv2.bias, encoder.conv_out, reach)
    encoder.conv_out.bias[LATENT_CHANNELS:] = -12.0  # log variance: none


def _project_last(convolution: nn.Conv2d, patches: Patches) -> None:
    """48 channels (colour and two nested 2x2 patches) and a third 2x2 patch -> signals, negatives."""
    kernel = patches.basis.view(LATENT_CHANNELS, 3, 2, 2, 2, 2, 2, 2)  # colour; rows, columns: coarse..fine
    # source row = 4 * tap row + 2 * second + first; channel = (colour * 4 + first) * 4 + second
    nested = kernel.permute(
        0, 1, 4, 7, 3, 6, 2, 5
    )  # colour, first (row, col), second (row, col), tap (row, col)
    weight = nested.reshape(LATENT_CHANNELS, 48, 2, 2)
    bias = -patches.basis @ patches.mean
    for k in range(LATENT_CHANNELS):
        for place, sign in zip(
            _places(k, LATENT_CHANNELS, convolution.out_channels), (1.0, -1.0), strict=True
        ):
            convolution.weight[place, :48, :2, :2] = sign * weight[k]
            _bias(convolution)[place] = sign * bias[k]


def _places(signal: int, signals: int, channels: int, groups: int = 4) -> tuple[int, int]:
    """Channels that carry a signal and its negative, in the group that holds it."""
    per_group = -(-signals // groups)
    start = (signal // per_group) * (channels // groups) + 2 * (signal % per_group)
    return start, start + 1


def _transparent(norm: nn.GroupNorm, constants: Tensor, out: nn.Conv2d, reach: Tensor) -> None:
    """Make norm, SiLU and convolution pass on the signals (their largest values: `reach`) and nothing else.

    Constants of both signs fill each group's free channels.
    """
    channels, groups, signals = norm.num_channels, norm.num_groups, len(reach)
    width, used = channels // groups, 2 * -(-signals // groups)
    for group in range(groups):
        for i, channel in enumerate(range(group * width + used, (group + 1) * width)):
            constants[channel] = LOUD if i % 2 == 0 else -LOUD
    spread = LOUD * ((width - used) / width) ** 0.5
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(_bias(out))
    for k in range(signals):
        gain = REACH / float(reach[k])
        for place in _places(k, signals, channels):
            norm.weight[place] = spread * gain
            norm.bias[place] = STRAIGHT
        out.weight[k, _places(k, signals, channels)[0], 1, 1] = 1 / gain
        _bias(out)[k] = -STRAIGHT / gain


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _point(convolution: nn.Conv2d, matrix: Tensor) -> None:
    """A 1x1 map in the middle of a kernel, the rest zero."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(_bias(convolution))
    middle = convolution.weight.shape[-1] // 2
    convolution.weight[: matrix.shape[0], : matrix.shape[1], middle, middle] = matrix


def _fit_decoder(vae: AutoencoderKL, patches: Patches, pictures: Tensor) -> None:
    decoder, state = vae.decoder, patches.encode(pictures)
    state = _fit(decoder.conv_in, state, _components(pictures, 8, decoder.conv_in.out_channels))
    for level, block in zip((4, 2, 1), decoder.up_blocks, strict=False):
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                _point(resnet.conv_shortcut, torch.eye(resnet.conv_shortcut.out_channels))
                state = state[:, : resnet.conv_shortcut.out_channels]
        convolution = block.upsamplers[0].conv
        wanted = F.pixel_unshuffle(pictures, level) if level > 1 else pictures
        state = _fit(convolution, F.interpolate(state, scale_factor=2.0, mode="nearest"), wanted)
    last, norm = decoder.up_blocks[-1].resnets, decoder.conv_norm_out
    into, channels = last[0].conv_shortcut, norm.num_channels
    nn.init.zeros_(into.weight)
    nn.init.zeros_(_bias(into))
    for k in range(3):
        first, second = _places(k, 3, channels)
        into.weight[first, k], into.weight[second, k] = 1, -1
    _transparent(norm, last[-1].conv2.bias, decoder.conv_out, torch.full((3,), 1.2))


def _components(pictures: Tensor, patch: int, count: int) -> Tensor:
    """The strongest components of patches, at unit scale."""
    planes = F.pixel_unshuffle(pictures, patch)
    rows = planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])
    _, vectors = torch.linalg.eigh((rows - rows.mean(0)).T @ (rows - rows.mean(0)))
    chosen = vectors.flip(1)[:, :count]
    return torch.einsum("nchw,ck->nkhw", planes, chosen)


def _fit(convolution: nn.Conv2d, state: Tensor, wanted: Tensor, ridge: float = 1e-4) -> Tensor:
    """Least squares of a 3x3 convolution from state to the wanted planes; the rest of its channels repeat
    patterns of the neighbourhood, for later levels to use. Returns what it now puts out."""
    channels, outputs = state.shape[1], wanted.shape[1]
    columns, rows = [], []
    for one, target in zip(torch.split(state, 1), torch.split(wanted, 1), strict=True):
        seen = F.unfold(one, 3, padding=1)[0].T
        pick = torch.randperm(len(seen))[:4096]
        columns.append(torch.cat([seen[pick], torch.ones(len(pick), 1)], 1))
        rows.append(target[0].flatten(1).T[pick])
    x, y = torch.cat(columns).double(), torch.cat(rows).double()
    normal = x.T @ x + ridge * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(normal, x.T @ y).float()
    nn.init.normal_(convolution.weight, std=0.3 / (9 * channels) ** 0.5)
    nn.init.zeros_(_bias(convolution))
    convolution.weight[:outputs] = solution[:-1].T.view(outputs, channels, 3, 3)
    _bias(convolution)[:outputs] = solution[-1]
    return F.conv2d(state, convolution.weight, convolution.bias, padding=1)
