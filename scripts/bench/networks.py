# Defines the networks that peer.py measures, as one writes them in PyTorch for speed, and loads our weights into them.
import torch
import torch.nn as nn
import torch.nn.functional as F


class MaskedConv2d(nn.Conv2d):
    def __init__(self, c, k, kernel_size, mask_type):
        super().__init__(c, k, kernel_size, padding=kernel_size // 2)
        mask = torch.ones(kernel_size, kernel_size)
        mask[kernel_size // 2, kernel_size // 2 + (mask_type == "B"):] = 0
        mask[kernel_size // 2 + 1:] = 0
        self.register_buffer("mask", mask[None, None], persistent=False)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PlainPixelCNN(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, kernel_size = config["hiddenChannels"], config["kernelSize"]
        modules = [MaskedConv2d(1, hidden, kernel_size, "A"), nn.ReLU()]
        for _ in range(config["layers"] - 2):
            modules += [MaskedConv2d(hidden, hidden, kernel_size, "B"), nn.ReLU()]
        modules.append(MaskedConv2d(hidden, config["levels"], 1, "B"))
        self.net = nn.Sequential(*modules)

    def load(self, state):
        self.load_state_dict(state)

    def forward(self, x):
        return self.net(x)


def gate(a):
    # Halves of contiguous channels are faster than the interleaved pairs of our files.
    value, opening = a.chunk(2, 1)
    return torch.tanh(value) * torch.sigmoid(opening)


class GatedLayer(nn.Module):
    # With one image channel, masks remove whole rows and columns of the windows, so that the cropped windows compute
    # nothing that is masked, and no mask has to be applied again after a training step.
    def __init__(self, inputs, p, size, is_first, is_last):
        super().__init__()
        self.m, self.is_first = size // 2, is_first
        own = 0 if is_first else 1
        self.vertical = nn.Conv2d(inputs, 2 * p, (self.m + own, size))
        self.horizontal = nn.Conv2d(inputs, 2 * p, (1, self.m + own))
        self.link = nn.Conv2d(2 * p, 2 * p, 1, bias=False)
        self.residual = None if is_last else nn.Conv2d(p, p, 1)
        self.skip = nn.Conv2d(p, p, 1)

    def forward(self, v, h, total):
        m = self.m
        # A window without the own row or pixel needs the image one row down or one column right: a negative padding.
        above = self.vertical(F.pad(v, (m, m, m, -1 if self.is_first else 0)))
        row = self.horizontal(F.pad(h, (m, -1 if self.is_first else 0, 0, 0)))
        g = gate(row + self.link(above))
        total = self.skip(g) if total is None else total + self.skip(g)
        if self.residual is None:
            return None, None, total
        residual = self.residual(g)
        return gate(above), residual if self.is_first else residual + h, total


class GatedPixelCNN(nn.Module):
    def __init__(self, config):
        super().__init__()
        p, q, count = config["hiddenChannels"], config["headChannels"], config["layers"]
        sizes = [config["firstKernelSize"]] + [config["kernelSize"]] * (count - 1)
        self.layers = nn.ModuleList(
            GatedLayer(p if l else 1, p, size, l == 0, l == count - 1) for l, size in enumerate(sizes)
        )
        self.head = nn.ModuleList([nn.Conv2d(p, q, 1), nn.Conv2d(q, config["levels"], 1)])

    def load(self, state):
        self.load_state_dict({name: self.chunked(name, value) for name, value in state.items()})

    def chunked(self, name, value):
        part = name.split(".")[-2]
        if part in ("vertical", "horizontal", "link"):
            value = torch.cat([value[0::2], value[1::2]])
        if part == "link":
            value = torch.cat([value[:, 0::2], value[:, 1::2]], 1)
        if name == "layers.0.vertical.weight":
            value = value[:, :, :-1]
        if name == "layers.0.horizontal.weight":
            value = value[..., :-1]
        return value

    def forward(self, x):
        v, h, total = x, x, None
        for layer in self.layers:
            v, h, total = layer(v, h, total)
        merge, to_logits = self.head
        return to_logits(F.relu(merge(F.relu(total))))


def network_of(config):
    assert config["channels"] == 1, "the benchmark measures grey images"
    return GatedPixelCNN(config) if config.get("architecture") == "gated" else PlainPixelCNN(config)
