# Runs the model of scripts/bench/bench.mjs in PyTorch, to compare with. It reads one JSON request per line, runs it
# once and answers with its time. Requests: {"op": "train" | "forward" | "versions", "precision": "f32" | "bf16",
# "layout": "nchw" | "channels_last", "n": images}. The parent process alternates between this program and its own
# runs, so that both see the machine in the same state.
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class MaskedConv2d(nn.Conv2d):
    def __init__(self, c, k, kernel_size, mask_type):
        super().__init__(c, k, kernel_size, padding=kernel_size // 2)
        mask = torch.ones(kernel_size, kernel_size)
        mask[kernel_size // 2, kernel_size // 2 + (mask_type == "B"):] = 0
        mask[kernel_size // 2 + 1:] = 0
        self.register_buffer("mask", mask[None, None])

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, channels=1, hidden=64, layers=7, levels=256, kernel_size=7):
        super().__init__()
        modules = [MaskedConv2d(channels, hidden, kernel_size, "A"), nn.ReLU()]
        for _ in range(layers - 2):
            modules += [MaskedConv2d(hidden, hidden, kernel_size, "B"), nn.ReLU()]
        modules.append(MaskedConv2d(hidden, levels, 1, "B"))
        self.net = nn.Sequential(*modules)

    def forward(self, x):
        return self.net(x)


class Peer:
    def __init__(self, precision, layout):
        self.precision, self.layout = precision, layout
        self.model = PixelCNN()
        if layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)

    def logits(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model(x)

    def run(self, op, images):
        x = images.float() / 255
        if self.layout == "channels_last":
            x = x.to(memory_format=torch.channels_last)
        if op == "forward":
            with torch.no_grad():
                self.logits(x)
            return
        loss = F.cross_entropy(self.logits(x).float(), images[:, 0].long())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()


torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[1]))
images = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8)
peers = {}
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "versions":
        print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
        continue
    key = request["precision"], request["layout"]
    if key not in peers:
        peers[key] = Peer(*key)
    batch = images[: request["n"]]
    start = time.perf_counter()
    peers[key].run(request["op"], batch)
    print(json.dumps({"ms": 1000 * (time.perf_counter() - start)}), flush=True)
