"""The challenge's tiny U-Net, from a file as its code writes it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path, PosixPath

import torch
from torch import Tensor, nn

from dealias.io.pickled import read_pickle_weights
from dealias.models.challenge_unet import ChallengeUnet
from dealias.models.published.challenge import UNET
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure


def convolutions(a: int, b: int) -> nn.ModuleDict:
    parts = [
        nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
        nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
    ]  # fmt: skip
    return nn.ModuleDict({"layers": nn.Sequential(*parts)})


def plain() -> nn.ModuleDict:
    """Modules of torch alone, by the names of the challenge's code, as after some training."""
    torch.manual_seed(0)
    down = nn.Sequential(nn.MaxPool2d(2), convolutions(2, 4))
    up = nn.ModuleDict({"up": nn.ConvTranspose2d(4, 2, 2, stride=2), "conv": convolutions(4, 2)})
    network = nn.ModuleDict({
        "first_block": convolutions(1, 2), "down1": nn.ModuleDict({"layers": down}),
        "up1": up, "last_block": nn.Conv2d(2, 1, 1),
    }).double()  # fmt: skip
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for one in (part.running_mean, part.running_var, part.weight.data, part.bias.data):
                assert one is not None
                one.uniform_(0.2, 1.5)
    return network.eval()


def cleaned(network: nn.ModuleDict, x: Tensor) -> Tensor:
    skip = network["first_block"]["layers"](x)
    pooled, block = network["down1"]["layers"]
    raised = network["up1"]["up"](block["layers"](pooled(skip)))
    return network["last_block"](network["up1"]["conv"]["layers"](torch.cat([skip, raised], 1)))


def test_a_file_of_the_challenges_code_computes_what_it_did(tmp_path: Path) -> None:
    network = plain()
    content = {
        "epoch": 3, "args": argparse.Namespace(net_name="test_Unet"), "model": network.state_dict(),
        "optimizer": {}, "best_val_loss": torch.tensor(2.0), "exp_dir": PosixPath("../result"),
    }  # fmt: skip
    torch.save(content, tmp_path / "model.pt")
    state = read_pickle_weights(tmp_path / "model.pt")["model"]
    assert all(any(re.fullmatch(one, key) for key in state) for one in UNET.signature)
    ours = ChallengeUnet(UNET.settings({key: one.shape for key, one in state.items()})).double()
    ours.load_state_dict(UNET.convert(state))

    y = torch.randn(2, 1, 3, 24, 30, dtype=torch.complex128) + 0.2
    m = measure(y, [snu_mask(30, 4)] * 2, (20, 22), ours.needs)
    image = m.zero_filled()[:, 2:22, 4:26]
    mean, std = image.mean((1, 2), keepdim=True), image.std((1, 2), keepdim=True)
    wanted = (cleaned(network, ((image - mean) / std)[:, None])[:, 0] * std + mean).clamp_min(0)
    found = ours(m).image_BHW[:, 2:22, 4:26]
    assert torch.linalg.norm(found - wanted) < 1e-12 * torch.linalg.norm(wanted)
    of = [dict(ours.named_parameters())[UNET.rename(key) or ""] for key in names(network)]
    weight = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad((found * weight).sum(), of),
        torch.autograd.grad((wanted * weight).sum(), list(network.parameters())),
        strict=True,
    )
    for a, b in pairs:
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)


def names(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_parameters()]


def test_training_leaves_the_statistics_alone() -> None:
    network = ChallengeUnet(
        UNET.settings({"first_block.layers.0.weight": torch.Size([2, 1, 3, 3])})
    )
    before = {name: one.clone() for name, one in network.named_buffers()}
    assert len(before) == 12
    y = torch.randn(2, 1, 3, 24, 30, dtype=torch.complex64)
    network(measure(y, [snu_mask(30, 4)] * 2, (20, 22), network.needs))
    assert all(torch.equal(one, before[name]) for name, one in network.named_buffers())
