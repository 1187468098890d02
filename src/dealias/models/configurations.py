"""The table of published configurations: networks of the table at sizes that somebody used."""

from __future__ import annotations

from dataclasses import dataclass

from dealias.models.network import NetworkSettings
from dealias.models.table import NETWORKS
from dealias.table import Table

TEAM_2022 = "Team HsThMRI, SNU fastMRI challenge 2022"
GEEKSEEK = "Team GeekSeek, SNU fastMRI challenge 2025"
SMARTIFY = "Team sMaRtIfy, SNU fastMRI challenge 2025"


@dataclass(frozen=True)
class Configuration:
    """A network at a size.

    Attributes:
        name: Of the configuration.
        settings: Of the network.
        parameters: How many numbers its weights are, as published or as the published code has it
            (where ours differs on purpose, docs/parity.md says why).
        source: Who used it.
    """

    name: str
    settings: NetworkSettings
    parameters: int
    source: str


def _of(name: str, parameters: int, source: str, network: str, **changes: object) -> Configuration:
    settings = NETWORKS[network].settings.model_validate(changes)
    return Configuration(name, settings, parameters, source)


def _published() -> tuple[Configuration, ...]:
    """Each row of the network table with its defaults."""
    return tuple(
        Configuration(entry.name, entry.settings(), entry.parameters, entry.paper)
        for entry in NETWORKS
    )


_ONE_KERNEL = {"space": "feature", "large_kernels": True}
_DIRCN_ROW = {"cascades": 12, "channels": 28, "variational": True}
_PLAIN = {"dense": False, "interconnections": False}
_PAPER = "Ottesen et al. 2022, arXiv:2207.02073: a row of its table, sizes as far as they are known"

CONFIGURATIONS = Table(
    "configuration",
    (
        *_published(),
        _of("unet-leaderboard", 496_372_225, "fastMRI's leaderboard", "unet", channels=256),
        _of("varnet-20", 49_571_678, GEEKSEEK, "varnet", cascades=20),
        _of("fivarnet-18", 123_193_654, "fastMRI's code, its defaults", "fivarnet",
            features=18, image_channels=18),
        _of("fivarnet-geekseek", 79_122_988, f"{GEEKSEEK}, (15+3, 12, 24, 8)", "fivarnet",
            stages=[{"space": "feature", "cascades": 15, "attention": "alias"},
                    {"space": "image", "cascades": 3}],
            features=12, channels=24, sens_channels=8, image_channels=24),
        _of("fivarnet-lska", 67_625_464, f"{GEEKSEEK}, [5, 10, 3]", "fivarnet",
            stages=[{**_ONE_KERNEL, "cascades": 5}, {"space": "feature", "cascades": 10},
                    {"space": "image", "cascades": 3}],
            features=12, channels=24, sens_channels=8, image_channels=18),
        _of("fivarnet-psf", 124_645_591, f"{GEEKSEEK}, [3, 13, 0]", "fivarnet",
            stages=[{"space": "feature", "cascades": 3, "attention": "psf", "convolutions": False},
                    {"space": "feature", "cascades": 13}],
            features=9, adaptive=False),
        _of("promptmr-1", 81_371_645, "PromptMR's code, one slice", "promptmr", slices=1),
        _of("promptmr-fastmri", 79_643_645, "PromptMR's fastMRI script", "promptmr",
            slices=3, reduction=None),
        _of("promptmr-sungsimdang", 17_006_711, "Team Sungsimdang, SNU fastMRI challenge 2024",
            "promptmr", cascades=6, slices=1, features=[32, 48, 64, 80],
            prompt_channels=[16, 32, 48], sens_features=[16, 24, 32, 40],
            sens_prompt_channels=[8, 16, 24], prompt_size=[32, 16, 8]),
        _of("promptmr+-1", 92_069_117, "PromptMR+'s code, one slice", "promptmr+", slices=1),
        _of("promptmr+-kspace", 92_859_005, "PromptMR+'s code, its first form", "promptmr+",
            state="kspace"),
        _of("promptmr+-smartify", 6_014_179, SMARTIFY, "promptmr+", cascades=8, slices=1, history=3,
            features=[8, 24, 32, 40], prompt_channels=[8, 16, 24], sens_features=[8, 12, 16, 20],
            sens_prompt_channels=[4, 8, 12], prompts=[3, 3, 3], prompt_size=[16, 8, 4],
            reduction=2),
        _of("promptmr+-ej", 34_225_281, "Team EJ, SNU fastMRI challenge 2025", "promptmr+",
            cascades=8, slices=3, history=0, features=[48, 64, 80, 96],
            prompt_channels=[16, 32, 48], sens_features=[12, 16, 20, 24],
            sens_prompt_channels=[4, 8, 12], reduction=None),
        _of("dircn-47m", 47_458_187, "Ottesen et al. 2022, its 12 cascades", "dircn",
            cascades=12, channels=28),
        _of("dircn-2022-fc", 252_989_904, TEAM_2022, "dircn", cascades=6, denoiser="unet-fc",
            channels=18, groups=1, sens_channels=8),
        _of("dircn-2022-attention", 189_705_398, TEAM_2022, "dircn", cascades=5,
            denoiser="attention-unet-fc", channels=18, groups=1, sens_channels=8),
        _of("dircn-baseline", 45_086_006, _PAPER, "dircn", cascades=12, denoiser="unet",
            channels=22, groups=1, variational=True, **_PLAIN),
        _of("dircn-dense", 45_112_142, _PAPER, "dircn", cascades=12, denoiser="unet",
            channels=22, groups=1, variational=True, interconnections=False),
        _of("dircn-resxunet", 40_827_563, _PAPER, "dircn", **_DIRCN_ROW, **_PLAIN),
        _of("dircn-interconnected", 49_158_866, _PAPER, "dircn", cascades=12, denoiser="unet",
            channels=22, groups=1, variational=True, dense=False),
        _of("humus-large", 228_524_570, "Fabian et al. 2022, its large network", "humus",
            features=96),
        _of("humus-1", 109_250_010, "HUMUS-Net's Stanford configuration", "humus", slices=1),
        _of("mamba-varnet-12", 25_059_374, "E2E-VarNet's depth", "mamba-varnet", cascades=12),
    ),
)  # fmt: skip
