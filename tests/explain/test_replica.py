"""Explaining changes nothing, whatever happens, and works beside whatever else goes on."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain import explain, methods
from hf_pneumo.explain.replica import replicate, unwrap, with_replaced

VIT = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 2}
BRIEF = {
    "scorecam": {"channels": 4},
    "integrated_gradients": {"steps": 2},
    "gradient_shap": {"samples": 2},
    "smoothgrad": {"samples": 2},
    "occlusion": {"window": 16, "stride": 16},
    "superpixels": {"segments": 4},
    "lime": {"segments": 4, "samples": 8},
}
FOR_VIT = [name for name in methods() if name != "cam"]


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", **VIT).eval()


@pytest.fixture
def cnn() -> nn.Module:
    """Batch normalisation, in-place activations, dropout and squeeze-and-excitation, small."""
    torch.manual_seed(0)
    return timm.create_model("mobilenetv3_small_050", num_classes=2, drop_rate=0.5)


def state(network: nn.Module) -> dict:
    """Everything about a network that explaining could leave changed."""
    found = {"modules": [id(module) for module in network.modules()]}
    for name, module in network.named_modules():
        hooks = [len(value) for key, value in vars(module).items() if "hooks" in key and hasattr(value, "__len__")]
        found[name] = (module.training, getattr(module, "fused_attn", None), getattr(module, "inplace", None), hooks)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        gradient = None if value.grad is None else value.grad.clone()
        found[name + "="] = (value.requires_grad, value._version, value.data_ptr(), gradient)
    return found


@pytest.mark.parametrize("method", FOR_VIT)
def test_no_method_leaves_a_trace_on_a_transformer(vit, method):
    before, images = state(vit), torch.randn(2, 3, 32, 32)
    kept = images.clone()
    found = explain(vit, images, method=method, target=[0, 1], **BRIEF.get(method, {}))
    assert state(vit) == before
    assert torch.equal(images, kept)
    assert not images.requires_grad
    assert all(np.isfinite(one.heatmap).all() and one.heatmap.shape == (32, 32) for one in found)
    assert all(one.heatmap.min() >= 0 and one.heatmap.max() <= 1 for one in found)


@pytest.mark.parametrize("method", ["gradcam", "deeplift", "integrated_gradients", "lime"])
def test_a_network_in_training_is_explained_in_evaluation_and_trains_on(cnn, method):
    cnn.train()
    cnn.blocks[0].eval()  # a mixture of modes, as when layers are frozen
    before, images = state(cnn), torch.randn(2, 3, 64, 64)
    found = explain(cnn, images, method=method, target=1, **BRIEF.get(method, {}))
    assert state(cnn) == before
    cnn.eval()
    assert np.stack([one.logits for one in found]) == pytest.approx(cnn(images).detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "legrad", "deeplift", "occlusion"])
def test_an_exception_leaves_no_trace_either(vit, method):
    before = state(vit)
    vit.head.forward = lambda x: (_ for _ in ()).throw(ArithmeticError("stop"))
    with pytest.raises(ArithmeticError):
        explain(vit, torch.randn(1, 3, 32, 32), method=method, target=1, **BRIEF.get(method, {}))
    del vit.head.forward
    assert state(vit) == before
    assert torch.is_grad_enabled()


def test_frozen_weights_and_no_grad_change_nothing(vit):
    images = torch.randn(1, 3, 32, 32)
    for method in ("gradcam", "relevance", "legrad", "integrated_gradients"):
        expected = explain(vit, images, method=method, target=1, **BRIEF.get(method, {}))[0].grid
        vit.requires_grad_(False)
        with torch.no_grad():
            assert explain(vit, images, method=method, target=1, **BRIEF.get(method, {}))[0].grid == pytest.approx(
                expected
            )
        with torch.inference_mode():
            inside = torch.ones_like(images) * images
            assert explain(vit, inside, method=method, target=1, **BRIEF.get(method, {}))[0].grid == pytest.approx(
                expected
            )
        vit.requires_grad_(True)


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "legrad", "integrated_gradients"])
def test_autocast_gives_nearly_the_same_map(vit, method):
    images = torch.randn(1, 3, 32, 32)
    full = explain(vit, images, method=method, target=1, **BRIEF.get(method, {}))[0]
    with torch.autocast("cpu", torch.bfloat16):
        half = explain(vit, images, method=method, target=1, **BRIEF.get(method, {}))[0]
    assert half.heatmap.dtype == np.float32
    assert half.heatmap == pytest.approx(full.heatmap, abs=0.12)


def test_weights_in_half_precision_are_met_by_the_images(vit):
    vit = vit.to(torch.bfloat16)
    assert explain(vit, torch.randn(1, 3, 32, 32), target=1)[0].heatmap.dtype == np.float32


@pytest.mark.parametrize("method", ["gradcam", "legrad", "deeplift"])
def test_eight_threads_get_what_they_asked_for(vit, method):
    vit.train()  # the harder case: evaluation mode must not leak from one thread to another
    generator = torch.Generator().manual_seed(5)
    jobs = [(torch.randn(1, 3, 32, 32, generator=generator), index % 2) for index in range(16)]

    def run(job: tuple[torch.Tensor, int]) -> np.ndarray:
        return explain(vit, job[0], method=method, target=job[1])[0].grid

    expected = [run(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, jobs * 3))
    assert np.stack(found) == pytest.approx(np.stack(expected * 3), abs=1e-5)


def test_two_hundred_calls_hold_on_to_nothing(vit):
    images = torch.randn(1, 3, 32, 32)

    def held() -> int:
        gc.collect()
        return sum(1 for item in gc.get_objects() if isinstance(item, (torch.Tensor, nn.Module)))

    explain(vit, images, target=1)
    before = held()
    for _ in range(200):
        explain(vit, images, target=1)
    assert held() <= before


def test_a_replica_shares_weights_and_nothing_else(cnn):
    copy = replicate(cnn.train())
    assert not any(module.training for module in copy.modules())
    assert all(module.training for module in cnn.modules())
    ours = {name: value.data_ptr() for name, value in cnn.state_dict().items()}
    assert {name: value.data_ptr() for name, value in copy.state_dict().items()} == ours
    assert {id(module) for module in copy.modules()}.isdisjoint(id(module) for module in cnn.modules())


def test_a_shared_module_stays_shared_in_the_replica():
    shared = nn.ReLU()
    copy = replicate(nn.Sequential(shared, nn.Linear(2, 2), shared))
    assert copy[0] is copy[2] is not shared


def test_replacing_copies_the_path_only(vit):
    other = nn.Identity()
    copy = with_replaced(vit, {"blocks.1.norm1": other})
    assert copy.blocks[1].norm1 is other
    assert vit.blocks[1].norm1 is not other
    assert copy.blocks[0] is vit.blocks[0]
    assert copy.blocks[1].attn is vit.blocks[1].attn


def test_wrappers_are_looked_through(vit):
    assert unwrap(nn.DataParallel(vit)) is vit


@pytest.mark.slow
def test_a_compiled_network_is_looked_through(vit):
    assert unwrap(torch.compile(vit)) is vit
