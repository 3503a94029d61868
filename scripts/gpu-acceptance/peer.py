# Runs the models of scripts/gpu-acceptance in PyTorch on the same GPU, with bf16 autocast and channels_last. It
# reads one JSON request per line and answers with one. Requests: {"op": "versions"}; {"op": "matmul", "size"};
# {"op": "train", "compiled", "model", "side", "batch", "seconds"}; {"op": "sample", "model", "side", "batch",
# "pixels"}, which measures the time of so many pixels, each by a full forward pass, as without a cached sampler.
import functools
import json
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

device = "cuda" if torch.cuda.is_available() else "cpu"


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


class MaskedConv2d(nn.Conv2d):
    def __init__(self, c, k, kernel_size, mask_type, channel_groups):
        super().__init__(c, k, kernel_size, padding=kernel_size // 2)
        centre = kernel_size // 2
        mask = torch.ones(k, c, kernel_size, kernel_size)
        mask[:, :, centre, centre + 1:] = 0
        mask[:, :, centre + 1:] = 0
        output = (torch.arange(k) * channel_groups // k)[:, None]
        inputs = (torch.arange(c) * channel_groups // c)[None]
        mask[:, :, centre, centre] = (inputs <= output if mask_type == "B" else inputs < output).float()
        self.register_buffer("mask", mask)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, channels=1, hiddenChannels=64, layers=7, levels=256, kernelSize=7):
        super().__init__()
        self.channels, self.levels = channels, levels
        modules = [MaskedConv2d(channels, hiddenChannels, kernelSize, "A", channels), nn.ReLU()]
        for _ in range(layers - 2):
            modules += [MaskedConv2d(hiddenChannels, hiddenChannels, kernelSize, "B", channels), nn.ReLU()]
        modules.append(MaskedConv2d(hiddenChannels, channels * levels, 1, "B", channels))
        self.net = nn.Sequential(*modules)

    def forward(self, x):  # (N, levels, channels, H, W)
        y = self.net(x)
        return y.unflatten(1, (self.channels, self.levels)).transpose(1, 2)


class GatedLayer(nn.Module):
    """The halves of a gate are the first and the second half of the channels, as PyTorch users write it."""

    def __init__(self, c, p, kernel_size, channel_groups, is_first, is_last):
        super().__init__()
        self.reach, self.is_first, self.is_last = kernel_size // 2, is_first, is_last
        # Mask A of the vertical stack leaves out the pixel's own row.
        self.vertical = nn.Conv2d(c, 2 * p, (self.reach + (0 if is_first else 1), kernel_size))
        self.horizontal = GroupedConv2d(c, 2 * p, (1, self.reach + 1), "A" if is_first else "B", channel_groups, 2)
        self.link = nn.Conv2d(2 * p, 2 * p, 1, bias=False)
        self.residual = None if is_last else GroupedConv2d(p, p, (1, 1), "B", channel_groups)
        self.skip = GroupedConv2d(p, p, (1, 1), "B", channel_groups)

    def forward(self, vertical, horizontal, skip):
        m = self.reach
        above = self.vertical(F.pad(vertical, (m, m, m, -1 if self.is_first else 0)))
        gated = gate(self.horizontal(F.pad(horizontal, (m, 0))) + self.link(above))
        skip = self.skip(gated) + skip
        if self.is_last:
            return None, None, skip
        residual = self.residual(gated)
        return gate(above), residual if self.is_first else residual + horizontal, skip


def gate(x):
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class GroupedConv2d(nn.Conv2d):
    """A convolution whose last tap is the pixel itself, where an output sees the channel groups that the mask shows."""

    def __init__(self, c, k, kernel_size, mask_type, channel_groups, halves=1):
        super().__init__(c, k, kernel_size)
        size = k // halves
        output = (torch.arange(size) * channel_groups // size).repeat(halves)[:, None]
        inputs = (torch.arange(c) * channel_groups // c)[None]
        mask = torch.ones_like(self.weight)
        mask[:, :, -1, -1] = (inputs <= output if mask_type == "B" else inputs < output).float()
        self.register_buffer("mask", None if bool(mask.all()) else mask)

    def forward(self, x):
        weight = self.weight if self.mask is None else self.weight * self.mask
        return F.conv2d(x, weight, self.bias)


class GatedPixelCNN(nn.Module):
    def __init__(self, channels=1, hiddenChannels=64, layers=7, levels=256, kernelSize=3, firstKernelSize=7,
                 headChannels=None):
        super().__init__()
        self.channels, self.levels = channels, levels
        p, q = hiddenChannels, headChannels or hiddenChannels
        sizes = [(channels, firstKernelSize)] + [(p, kernelSize)] * (layers - 1)
        self.layers = nn.ModuleList(
            GatedLayer(c, p, size, channels, l == 0, l == layers - 1) for l, (c, size) in enumerate(sizes))
        self.merge = GroupedConv2d(p, q, (1, 1), "B", channels)
        self.head = GroupedConv2d(q, channels * levels, (1, 1), "B", channels)

    def forward(self, x):  # (N, levels, channels, H, W)
        vertical, horizontal, skip = x, x, 0
        for layer in self.layers:
            vertical, horizontal, skip = layer(vertical, horizontal, skip)
        y = self.head(torch.relu(self.merge(torch.relu(skip))))
        return y.unflatten(1, (self.channels, self.levels)).transpose(1, 2)


def network_of(architecture="plain", **sizes):
    return {"plain": PixelCNN, "gated": GatedPixelCNN}[architecture](**sizes)


def autocast():
    return torch.autocast(device, dtype=torch.bfloat16)


def median_milliseconds(run, seconds):
    for _ in range(3):
        run()
    synchronize()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(4):  # so that the host may run ahead
            run()
        synchronize()
        times.append(250 * (time.perf_counter() - start))
    return statistics.median(times)


@functools.cache
def trained_network(compiled, model):
    """Kept between requests: a compiled network takes most of a minute to make."""
    network = network_of(**dict(model)).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    return network, optimizer, torch.compile(network) if compiled else network


def train(compiled, model, side, batch, seconds):
    network, optimizer, forward = trained_network(compiled, tuple(sorted(model.items())))
    host = torch.randint(0, 256, (batch, side, side, network.channels), dtype=torch.uint8)
    host = host.pin_memory() if device == "cuda" else host

    def step():
        images = host.to(device, non_blocking=True).permute(0, 3, 1, 2)
        level = images.long() * network.levels // 256
        x = (level.float() / (network.levels - 1)).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with autocast():
            loss = F.cross_entropy(forward(x), level)
        loss.backward()
        optimizer.step()

    return median_milliseconds(step, seconds)


@torch.no_grad()
def sample(model, side, batch, pixels):
    network = network_of(**model).to(device).to(memory_format=torch.channels_last)
    x = torch.zeros(batch, network.channels, side, side, device=device).to(memory_format=torch.channels_last)

    def draw(pixel):
        row, column = pixel // side % side, pixel % side
        for channel in range(network.channels):
            with autocast():
                logits = network(x)[:, :, channel, row, column]
            level = torch.multinomial(logits.float().softmax(1), 1)[:, 0]
            x[:, channel, row, column] = level.float() / (network.levels - 1)

    for pixel in range(3):
        draw(pixel)
    synchronize()
    start = time.perf_counter()
    for pixel in range(pixels):
        draw(pixel)
    synchronize()
    return 1000 * (time.perf_counter() - start)


def matmul(size):
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return median_milliseconds(lambda: a @ b, 1)


def versions():
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"torch": torch.__version__, "device": name, "cudnn": torch.backends.cudnn.version()}


torch.manual_seed(0)
torch.backends.cudnn.benchmark = True
for line in sys.stdin:
    request = json.loads(line)
    op = request.pop("op")
    try:
        result = versions() if op == "versions" else {"ms": {"train": train, "sample": sample, "matmul": matmul}[op](**request)}
    except Exception as error:  # the parent notes it and goes on
        result = {"error": f"{type(error).__name__}: {error}"[:500]}
    if device == "cuda":
        torch.cuda.empty_cache()
    print(json.dumps(result), flush=True)
