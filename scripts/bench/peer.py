# Runs the networks of scripts/bench/bench.mjs in PyTorch, to compare with. It reads one JSON request per line, runs it once
# and answers with one line. The parent process alternates between this program and its own runs, so that both see the
# machine in the same state. Requests:
#   {"op": "versions"}
#   {"op": "load", "file": a model file of ours, "precision": "f32" | "bf16", "layout": "nchw" | "channels_last",
#    "levels": all levels of all images in one list, "side": their height and width}   -> {"nats": -log p of each image}
#   {"op": "train" | "forward", "precision", "layout", "n": images}         -> {"ms": time}
# Those of a precision and layout run with the network that was loaded for it last.
import json
import sys
import time

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from networks import network_of


class Peer:
    def __init__(self, file, precision, layout):
        with safe_open(file, "pt") as opened:
            self.config = json.loads(opened.metadata()["pixelcnn.config"])
        self.precision, self.layout = precision, layout
        self.model = network_of(self.config)
        self.model.load(load_file(file))
        if layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, fused=True)

    def logits(self, levels):
        x = levels.float() / (self.config["levels"] - 1)
        if self.layout == "channels_last":
            x = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model(x)

    @torch.no_grad()
    def nats(self, levels):
        losses = F.cross_entropy(self.logits(levels).float(), levels[:, 0].long(), reduction="none")
        return losses.double().flatten(1).sum(1).tolist()

    def run(self, op, levels):
        if op == "forward":
            with torch.no_grad():
                self.logits(levels)
            return
        loss = F.cross_entropy(self.logits(levels).float(), levels[:, 0].long())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()


torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[1]))
bytes_of_images = torch.randint(0, 256, (64, 1, 28, 28))
peers = {}


def answer(request):
    op = request["op"]
    if op == "versions":
        return {"torch": torch.__version__, "threads": torch.get_num_threads()}
    key = request["precision"], request["layout"]
    if op == "load":
        peers[key] = Peer(request["file"], *key)
        side = request["side"]
        return {"nats": peers[key].nats(torch.tensor(request["levels"]).view(-1, 1, side, side))}
    peer = peers[key]
    levels = (bytes_of_images[: request["n"]] * peer.config["levels"]) // 256
    start = time.perf_counter()
    peer.run(op, levels)
    return {"ms": 1000 * (time.perf_counter() - start)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
