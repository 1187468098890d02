"""The table of networks."""

from __future__ import annotations

from dealias.models.attention_unet import AttentionUnet, AttentionUnetSettings
from dealias.models.challenge_unet import ChallengeUnet, ChallengeUnetSettings
from dealias.models.dhumus import DHumus, DHumusSettings
from dealias.models.dircn import DIRCN, DIRCNSettings
from dealias.models.fivarnet import FeatureStage, FIVarNet, FIVarNetSettings, ImageStage
from dealias.models.humus import Humus, HumusSettings
from dealias.models.mamba_varnet import MambaVarNet, MambaVarNetSettings
from dealias.models.mambarecon import MambaRecon, MambaReconSettings
from dealias.models.mixture import Ensemble, EnsembleSettings, Experts, ExpertsSettings
from dealias.models.network import Network, NetworkEntry
from dealias.models.promptmr import PromptMR, PromptMRSettings
from dealias.models.promptmr_plus import PromptMRPlus, PromptMRPlusSettings
from dealias.models.settings import AnySettings
from dealias.models.unet import ImageUnet, UnetSettings
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.models.varnet_fc import VarNetFC, VarNetFCSettings
from dealias.table import Table


def _ensemble(settings: EnsembleSettings) -> Ensemble:
    members = [build_network(settings.own(one)) for one in settings.members]
    return Ensemble(members, settings.shares())


def _experts(settings: ExpertsSettings) -> Experts:
    named = settings.members.items()
    return Experts({name: build_network(settings.own(one)) for name, one in named})


NETWORKS = Table(
    "network",
    (
        NetworkEntry(
            name="unet",
            settings=UnetSettings,
            build=ImageUnet,
            parameters=7_756_097,
            paper="Zbontar et al. 2018, arXiv:1811.08839",
            tiny=UnetSettings(channels=4, pools=2),
        ),
        NetworkEntry(
            name="challenge-unet",
            settings=ChallengeUnetSettings,
            build=ChallengeUnet,
            parameters=463,
            paper="SNU fastMRI challenge, LISTatSNU/FastMRI_challenge",
            tiny=ChallengeUnetSettings(channels=16),
        ),
        NetworkEntry(
            name="attention-unet",
            settings=AttentionUnetSettings,
            build=AttentionUnet,
            parameters=325_038_150,
            paper="Team HsThMRI, SNU fastMRI challenge 2022; gates: arXiv:1804.03999",
            tiny=AttentionUnetSettings(
                channels=8, pools=2, hidden=8, kernel=4, stride=2, dropout=0
            ),
        ),
        NetworkEntry(
            name="varnet-fc",
            settings=VarNetFCSettings,
            build=VarNetFC,
            parameters=179_201_524,
            paper="Team HsThMRI, SNU fastMRI challenge 2022",
            tiny=VarNetFCSettings(
                cascades=2, channels=4, pools=2, sens_channels=4, sens_pools=2, grid=(5, 4),
                dropout=0, sens_dropout=0,
            ),
        ),
        NetworkEntry(
            name="varnet",
            settings=VarNetSettings,
            build=VarNet,
            parameters=29_936_966,
            paper="Sriram et al. 2020, arXiv:2004.06688",
            tiny=VarNetSettings(cascades=2, channels=4, pools=2, sens_channels=4, sens_pools=2),
        ),
        NetworkEntry(
            name="promptmr",
            settings=PromptMRSettings,
            build=PromptMR,
            parameters=81_528_317,
            paper="Xin et al. 2023, arXiv:2309.13839",
            tiny=PromptMRSettings(
                cascades=2, slices=3, features=(8, 10, 12, 14), prompt_channels=(2, 3, 4),
                sens_features=(3, 4, 5, 6), sens_prompt_channels=(2, 2, 3), prompts=(2, 2, 2),
                prompt_size=(4, 3, 2), encoder=(1, 1, 1), decoder=(1, 1, 1), bottleneck=1,
            ),
        ),
        NetworkEntry(
            name="promptmr+",
            settings=PromptMRPlusSettings,
            build=PromptMRPlus,
            parameters=92_859_005,
            paper="Xin et al. 2024, ECCV, LNCS 15142",
            tiny=PromptMRPlusSettings(
                cascades=2, slices=3, history=2, features=(6, 8, 10, 12), prompt_channels=(2, 3, 4),
                sens_features=(3, 4, 5, 6), sens_prompt_channels=(2, 2, 3), prompts=(2, 2, 2),
                prompt_size=(4, 3, 2), encoder=(1, 1, 1), decoder=(1, 1, 1), bottleneck=1,
            ),
        ),
        NetworkEntry(
            name="dircn",
            settings=DIRCNSettings,
            build=DIRCN,
            parameters=60_982_445,
            paper="Ottesen et al. 2022, arXiv:2207.02073",
            tiny=DIRCNSettings(cascades=2, channels=4, groups=2, sens_channels=2),
        ),
        NetworkEntry(
            name="fivarnet",
            settings=FIVarNetSettings,
            build=FIVarNet,
            parameters=187_123_828,
            paper="Giannakopoulos et al. 2024, doi:10.1038/s41598-024-59705-0",
            tiny=FIVarNetSettings(
                stages=(
                    FeatureStage(cascades=1, attention="alias"),
                    FeatureStage(cascades=1, attention="psf", large_kernels=True),
                    ImageStage(cascades=1),
                ),
                features=6, channels=4, image_channels=4, pools=2, sens_channels=2, sens_pools=2,
                anchors=3,
            ),
        ),
        NetworkEntry(
            name="humus",
            settings=HumusSettings,
            build=Humus,
            parameters=109_269_050,
            paper="Fabian et al. 2022, arXiv:2203.08213",
            tiny=HumusSettings(
                cascades=2, features=8, window=2, depths=(2, 1), heads=(2, 2), bottleneck_heads=4,
                dropout=0, sens_channels=4, sens_pools=2,
            ),
        ),
        NetworkEntry(
            name="mambarecon",
            settings=MambaReconSettings,
            build=MambaRecon,
            parameters=2_047_872,
            paper="Korkmaz & Patel 2024, arXiv:2409.12401",
            tiny=MambaReconSettings(cascades=2, blocks=1, features=32, patch=4, states=2, expand=1),
        ),
        NetworkEntry(
            name="mamba-varnet",
            settings=MambaVarNetSettings,
            build=MambaVarNet,
            parameters=2_532_771,
            paper="Team GeekSeek, SNU fastMRI challenge 2025; MambaRecon: arXiv:2409.12401",
            tiny=MambaVarNetSettings(
                cascades=2, stages=1, blocks=1, features=48, patch=4, states=2, expand=1, dropout=0,
                sens_channels=4, sens_pools=2,
            ),
        ),
        NetworkEntry(
            name="dhumus",
            settings=DHumusSettings,
            build=DHumus,
            parameters=13_595_623,
            paper="Team GeekSeek, SNU fastMRI challenge 2025",
            tiny=DHumusSettings(
                cascades=2, channels=4, heads=2, window=2, scales=(1, 4), factors=(2, 3), hidden=4,
                sens_channels=4, sens_pools=2,
            ),
        ),
        NetworkEntry(
            name="ensemble",
            settings=EnsembleSettings,
            build=_ensemble,
            parameters=946_934_976,
            paper="Team HsThMRI, SNU fastMRI challenge 2022",
            tiny=EnsembleSettings(
                members=(
                    VarNetSettings(cascades=2, channels=4, pools=2, sens_channels=4, sens_pools=2),
                    VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1),
                ),
                weights=(0.75, 0.25),
            ),
        ),
        NetworkEntry(
            name="experts",
            settings=ExpertsSettings,
            build=_experts,
            parameters=24_056_716,
            paper="Team sMaRtIfy, SNU fastMRI challenge 2025",
            tiny=ExpertsSettings(
                members={
                    name: VarNetSettings(
                        cascades=1, channels=4, pools=2, sens_channels=4, sens_pools=2
                    )
                    for name in ("brain-x4", "knee-x8")
                }
            ),
        ),
    ),
)  # fmt: skip


def build_network(settings: AnySettings | EnsembleSettings | ExpertsSettings) -> Network:
    """The network that settings describe, with fresh weights."""
    return NETWORKS[settings.name].build(settings)
