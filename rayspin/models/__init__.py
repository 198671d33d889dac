"""The networks of both papers, degradations as PyTorch modules, and weight files."""

from rayspin.models.architectures import FieldNetworkConfig, FineNetworkConfig
from rayspin.models.degradation import Degrade
from rayspin.models.exact_field import ExactField
from rayspin.models.fcn import EffectiveFieldNet, EffectiveFieldNetConfig
from rayspin.models.field import FieldNet, FieldNetConfig, FieldOutput
from rayspin.models.field_unet import FieldUNet, FieldUNetConfig
from rayspin.models.fine import FineNet, FineNetConfig, Scale
from rayspin.models.inference import apply
from rayspin.models.shipped import pretrained, pretrained_file
from rayspin.models.sr import SuperResolutionNet, SuperResolutionNetConfig
from rayspin.models.sr_unet import SuperResolutionUNet, SuperResolutionUNetConfig
from rayspin.models.weights import Network, NetworkConfig, load_weights, save_weights, weights_info

__all__ = [
    "Degrade",
    "EffectiveFieldNet",
    "EffectiveFieldNetConfig",
    "ExactField",
    "FieldNet",
    "FieldNetConfig",
    "FieldNetworkConfig",
    "FieldOutput",
    "FieldUNet",
    "FieldUNetConfig",
    "FineNet",
    "FineNetConfig",
    "FineNetworkConfig",
    "Network",
    "NetworkConfig",
    "Scale",
    "SuperResolutionNet",
    "SuperResolutionNetConfig",
    "SuperResolutionUNet",
    "SuperResolutionUNetConfig",
    "apply",
    "load_weights",
    "pretrained",
    "pretrained_file",
    "save_weights",
    "weights_info",
]
