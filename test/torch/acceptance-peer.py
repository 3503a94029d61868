# Computes the golden gated network with the peer of scripts/gpu-acceptance (peer.py), and prints how far its logits
# are from the golden ones (relative L2). With a second argument the halves of the gates stay neighbours, as in our
# files, which the peer does not understand.
# Usage: acceptance-peer.py FILE [neighbours]
import io
import json
import os
import sys

import torch
from safetensors import safe_open

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../scripts/gpu-acceptance"))
sys.stdin = io.StringIO("")  # no requests
import peer  # noqa: E402

file = safe_open(sys.argv[1], "pt")
config = json.loads(file.metadata()["config"])
sizes = ("architecture", "channels", "hiddenChannels", "layers", "levels", "kernelSize", "firstKernelSize", "headChannels")
network = peer.network_of(**{name: config[name] for name in sizes})


def halves(tensor, axis):
    """Output channels 2i and 2i + 1 become i and p + i, as torch.chunk wants them."""
    if len(sys.argv) > 2:
        return tensor
    return torch.cat(tensor.unflatten(axis, (-1, 2)).unbind(axis + 1), axis)


def converted(name, tensor):
    part = name.split(".")[2]
    if part in ("vertical", "horizontal", "link"):
        tensor = halves(tensor, 0)
    if part == "link":
        tensor = halves(tensor, 1)
    # The peer has no weights for the rows that mask A hides.
    return tensor[:, :, :-1] if name == "layers.0.vertical.weight" else tensor


state = {}
for key in file.keys():
    if key.startswith("param."):
        name = key.removeprefix("param.")
        state[name.replace("head.0", "merge").replace("head.1", "head")] = converted(name, file.get_tensor(key))
masks = {name: buffer for name, buffer in network.named_buffers()}
network.load_state_dict({**masks, **state})
logits = network(file.get_tensor("levels").float() / (config["levels"] - 1))
golden = file.get_tensor("logits")
print(((logits - golden).norm() / golden.norm()).item())
