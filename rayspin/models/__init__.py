"""The networks of both papers, degradations as PyTorch modules, and weight files."""

from rayspin.models.architectures import FieldNetworkConfig
from rayspin.models.degradation import Degrade
from rayspin.models.fcn import EffectiveFieldNet, EffectiveFieldNetConfig
from rayspin.models.field import FieldNet, FieldNetConfig, FieldOutput
from rayspin.models.field_unet import FieldUNet, FieldUNetConfig
from rayspin.models.inference import apply
from rayspin.models.shipped import pretrained, pretrained_file
from rayspin.models.sr import Scale, SuperResolutionNet, SuperResolutionNetConfig
from rayspin.models.weights import Network, NetworkConfig, load_weights, save_weights, weights_info

__all__ = [
    "Degrade",
    "EffectiveFieldNet",
    "EffectiveFieldNetConfig",
    "FieldNet",
    "FieldNetConfig",
    "FieldNetworkConfig",
    "FieldOutput",
    "FieldUNet",
    "FieldUNetConfig",
    "Network",
    "NetworkConfig",
    "Scale",
    "SuperResolutionNet",
    "SuperResolutionNetConfig",
    "apply",
    "load_weights",
    "pretrained",
    "pretrained_file",
    "save_weights",
    "weights_info",
]
