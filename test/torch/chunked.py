"""Makes a gated network whose gates are split by chunk, with the classes of docs/gated.md, and its logits.

usage: chunked.py CONFIG_JSON SEED STATE_OUT IMAGES_AND_LOGITS_OUT   (the classes come on standard input)
Images are levels (N, C, H, W) uint8; logits (N, H, W, C, levels) float32, computed in float64.
"""
import json
import sys

import torch
from safetensors.torch import save_file

config, seed, state_out, expected_out = sys.argv[1:]
config = json.loads(config)
scope = {}
exec(sys.stdin.read(), scope)


def gate(a):
    first, second = a.chunk(2, 1)
    return torch.tanh(first) * torch.sigmoid(second)


scope["gate"] = gate
torch.manual_seed(int(seed))
model = scope["GatedPixelCNN"](config)
c, p = config["channels"], config["hiddenChannels"]
with torch.no_grad():
    for name, weight in model.named_parameters():
        weight.mul_(1.5)
        if not name.endswith("weight"):
            continue
        outputs, inputs = weight.shape[:2]
        part = name.split(".")[-2]
        if part == "vertical":
            if name.startswith("layers.0"):
                weight[:, :, -1] = 0
            continue
        if part == "link":
            continue
        # One weight after the other, by the rule in words: an image channel sees lower ones, from layer 1 on itself.
        for o in range(outputs):
            for i in range(inputs):
                group = (o % p) * c // p if part == "horizontal" else o * c // outputs
                source = i * c // inputs
                if source > group or (source == group and part == "horizontal" and name.startswith("layers.0")):
                    weight[o, i, 0, -1] = 0
    images = torch.randint(0, config["levels"], (3, c, 11, 9), dtype=torch.uint8)
    save_file(model.state_dict(), state_out)
    logits = model.double()(images.double() / (config["levels"] - 1))
    n, _, h, w = logits.shape
    logits = logits.view(n, c, config["levels"], h, w).permute(0, 3, 4, 1, 2)
    save_file({"images": images, "logits": logits.float().contiguous()}, expected_out)
