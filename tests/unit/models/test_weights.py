"""Weight files come back as the network they were, and nothing in a file is run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rayspin.errors import InputError
from rayspin.models import (
    EffectiveFieldNetConfig,
    SuperResolutionNetConfig,
    load_weights,
    save_weights,
    weights_info,
)
from rayspin.physics import Degradation


class _Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


@pytest.mark.parametrize(
    "config",
    [
        EffectiveFieldNetConfig(encoder_filters=(4, 6), decoder_filters=(5, 3)),
        SuperResolutionNetConfig(scale=8, expanding_filters=(5, 7), normalized_output=True),
        SuperResolutionNetConfig(scale=4, expanding_filters=(5,), start="fourier", degradation=Degradation(sigma=2.0)),
    ],
)
def test_a_network_comes_back_with_its_statistics_and_provenance(tmp_path, config):
    network = config.build()
    spins = torch.randn(3, 3, 8, 8)
    network(spins)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, {"samples": 25000, "figures": {"validation_loss": 1e-5}})
    back = load_weights(path)
    assert back.config == config
    assert not back.training
    with torch.no_grad():
        assert torch.equal(back(spins), network.eval()(spins))
    assert weights_info(path)["provenance"] == {"samples": 25000, "figures": {"validation_loss": 1e-5}}
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "was-run"
    for name, write in (("a.pt", torch.save), ("b.safetensors", lambda o, p: p.write_bytes(pickle.dumps(o)))):
        write(_Hostile(str(mark)), tmp_path / name)
        with pytest.raises(InputError, match="not a rayspin weight file"):
            load_weights(tmp_path / name)
    assert not mark.exists()
    # The files would have done it.
    pickle.loads((tmp_path / "b.safetensors").read_bytes())
    assert mark.exists()


def test_files_of_others_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a rayspin weight file"):
        weights_info(tmp_path / "other.safetensors")
    path = tmp_path / "w.safetensors"
    save_weights(path, SuperResolutionNetConfig(scale=4).build(), {})
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a rayspin weight file"):
        load_weights(tmp_path / "short.safetensors")


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, SuperResolutionNetConfig(scale=4).build(), {})
    tensors = load_file(path)
    wider = tmp_path / "wider.safetensors"
    save_weights(wider, SuperResolutionNetConfig(scale=8).build(), {})
    header = path.read_bytes()
    assert tensors.keys() != load_file(wider).keys()
    # The tensors of x4 under the metadata of x8: same length of text, other content.
    wider.write_bytes(header.replace(b'\\"scale\\": 4', b'\\"scale\\": 8'))
    with pytest.raises(InputError, match="don't fit"):
        load_weights(wider)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": 4}, "not a rayspin weight file"),
        ({"provenance": []}, "not a rayspin weight file"),
        ({"network": ["super-resolution"]}, "not a rayspin weight file"),
        ({"config": {"scale": "four"}}, r"w\.safetensors: scale: "),
        ({"config": {"scale": 4, "expanding_filters": 64}}, r"w\.safetensors: expanding_filters: "),
    ],
)
def test_metadata_of_other_types_are_refused(tmp_path, changed, message):
    path = tmp_path / "w.safetensors"
    facts = {"network": "super-resolution", "config": {"scale": 4}, "provenance": {}, **changed}
    save_file({"x": torch.zeros(2)}, path, metadata={"rayspin": json.dumps(facts)})
    with pytest.raises(InputError, match=message):
        load_weights(path)
