"""Runs the usual PyTorch PixelCNN beside ours: logits of a file that pixelcnn saved, and a state dict for it to load.

usage: check.py logits MODEL.safetensors IMAGES.safetensors OUT.safetensors
       check.py export CONFIG_JSON SEED HEIGHT WIDTH OUT.safetensors IMAGES_AND_LOGITS.safetensors [KIND]
       check.py save MODEL.safetensors OUT.pt HOW
       check.py batch ARGUMENTS_JSON   (a list of the above, in one process)
KIND is a key of `kinds`, HOW one of checkpoint, pickle (the weights alone, old format), script.
Images are levels (N, C, H, W) uint8; logits (N, H, W, C, levels) float32, computed in float64.
"""
import json
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file


class MaskedConv2d(nn.Conv2d):
    def __init__(self, inputs, outputs, size, kind, groups):
        super().__init__(inputs, outputs, size, padding=size // 2)
        mask = torch.ones(outputs, inputs, size, size)
        mask[:, :, size // 2, size // 2 :] = 0
        mask[:, :, size // 2 + 1 :] = 0
        to = torch.arange(outputs)[:, None] * groups // outputs
        source = torch.arange(inputs)[None] * groups // inputs
        mask[:, :, size // 2, size // 2] = (source <= to if kind == "B" else source < to).float()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, channels, hiddenChannels, layers, levels, kernelSize):
        super().__init__()
        c, h, k = channels, hiddenChannels, kernelSize
        modules = [MaskedConv2d(c, h, k, "A", c), nn.ReLU()]
        for _ in range(layers - 2):
            modules += [MaskedConv2d(h, h, k, "B", c), nn.ReLU()]
        modules.append(MaskedConv2d(h, c * levels, 1, "B", c))
        self.net = nn.Sequential(*modules)
        self.channels, self.levels = c, levels

    def forward(self, level):
        y = self.net(level.double() / (self.levels - 1))
        n, _, h, w = y.shape
        return y.view(n, self.channels, self.levels, h, w).permute(0, 3, 4, 1, 2)


def with_masks(model):
    for layer in model.net[::2]:
        layer.register_buffer("mask", layer.mask, persistent=True)
    return model


def with_stricter_masks(model):
    # Mask A, positions alone, in the second layer as well, in one buffer for all channels.
    layer = with_masks(model).net[2]
    mask = torch.zeros(1, 1, *layer.kernel_size, dtype=torch.bool)
    mask.view(-1)[: mask.numel() // 2] = True
    layer.mask = mask
    return model


def with_fused_norms(model):
    # What the remedy for batch normalisation says: the weights are masked, then the norm is folded into them.
    for at in range(0, len(model.net) - 1, 2):
        layer = model.net[at]
        norm = nn.BatchNorm2d(layer.out_channels)
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.copy_(torch.randn_like(values))
        norm.running_var.copy_(torch.rand_like(norm.running_var) + 0.5)
        layer.weight.mul_(layer.mask)
        model.net[at] = nn.utils.fuse_conv_bn_eval(layer.eval(), norm.eval())
    model.net[-1].weight.mul_(model.net[-1].mask)
    return model


# What people save: changes of the model itself, and wrappers that change the names alone.
kinds = {
    "plain": lambda model: model,
    "masks": with_masks,
    "stricter masks": with_stricter_masks,
    "fused norms": with_fused_norms,
    "compiled": lambda model: torch.compile(with_masks(model)),
    "parallel": lambda model: nn.DataParallel(model),
    "compiled parallel": lambda model: torch.compile(nn.DataParallel(with_masks(model))),
    "averaged": lambda model: torch.optim.swa_utils.AveragedModel(model),
    "bare": lambda model: model.net,
}


@torch.no_grad()
def main(command, *args):
    if command == "logits":
        source, images, out = args
        with safe_open(source, "pt") as file:
            config = json.loads(file.metadata()["pixelcnn.config"])
        model = PixelCNN(**config).double()
        model.load_state_dict(load_file(source), strict=True)
        logits = model(load_file(images)["images"])
        save_file({"logits": logits.float().contiguous()}, out)
    elif command == "export":
        config, seed, height, width, out, expected, kind = [*args, "plain"][:7]
        config = json.loads(config)
        torch.manual_seed(int(seed))
        model = PixelCNN(**config)
        # A plain state dict, as torch users save it: no metadata, random values under the masks.
        save_file(kinds[kind](model).state_dict(), out)
        shape = (3, config["channels"], int(height), int(width))
        images = torch.randint(0, config["levels"], shape, dtype=torch.uint8)
        save_file({"images": images, "logits": model.double()(images).float().contiguous()}, expected)
    elif command == "save":
        source, out, how = args
        if how == "script":
            torch.jit.save(torch.jit.script(nn.Conv2d(1, 2, 3)), out)
        else:
            weights = load_file(source)
            whole = {"epoch": 3, "state_dict": weights, "optimizer": {"state": {}}}
            content = whole if how == "checkpoint" else weights
            torch.save(content, out, _use_new_zipfile_serialization=how == "checkpoint")
    elif command == "batch":
        for each in json.loads(args[0]):
            main(*each)
    else:
        raise SystemExit(__doc__)


main(*sys.argv[1:])
