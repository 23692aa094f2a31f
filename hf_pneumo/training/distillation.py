"""Distillation: a trained checkpoint teaches a network that has no pretrained weights, on the same augmented films.

Two lessons beside the labels: the teacher's answer (Hinton et al. 2015, arXiv 1503.02531) and its last map, cell by
cell (Romero et al. 2015, arXiv 1412.6550), which says far more about a film than one answer does, and where.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.explain.layer import default_layer
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.inference import resized
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.models.tokens import to_maps
from hf_pneumo.training.config import TrainConfig

TEMPERATURE = 2.0  # softens both answers


class Teacher:
    """What a checkpoint has to say about a batch, and how far the student's answer and last map are from it.

    The student's map is that of `default_layer`, read by a hook until `leave`, through a 1x1 convolution ``projection``
    that is trained with it and then forgotten. Raises ValueError for a checkpoint that cannot teach
    this run: other labels, another split or crop, several networks.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: TrainConfig,
        student: nn.Module,
        labels: LabelSet,
        preprocess: Preprocess,
        accelerator: Accelerator,
    ):
        _check(checkpoint, config, labels, preprocess)
        self.answer_weight, self.map_weight = config.teacher_answer, config.teacher_map
        self.exclusive, self.preprocess = labels.exclusive, checkpoint.config.preprocess
        self.network = checkpoint.network.to(accelerator.device, memory_format=torch.channels_last).eval()
        self.network.requires_grad_(False)
        self.student, self.seen = student, torch.empty(0)
        self.hook = student.get_submodule(default_layer(student).name).register_forward_hook(self._see)
        nothing = torch.zeros(1, 3, *preprocess.size, device=accelerator.device)
        with torch.no_grad():
            student.eval()(nothing)
        width, taught = self._map(preprocess.size).shape[1], self.network.num_features
        self.projection = accelerator.prepare(nn.Conv2d(width, taught, 1).to(accelerator.device))

    def _see(self, module: nn.Module, given: object, output: Tensor) -> None:
        self.seen = output

    def leave(self) -> None:
        """Look at the student no more."""
        self.hook.remove()
        self.seen = torch.empty(0)

    def _map(self, size: tuple[int, int]) -> Tensor:
        """The student's map (B, C, gh, gw) of the last batch, whose films had ``size``."""
        return to_maps(self.seen, self.student, size).float()

    def lesson(self, films: Tensor, logits: Tensor) -> Tensor:
        """The two losses, weighed and summed. ``films`` float (B, h, w) in [0, 1]; ``logits`` (B, K), the student's."""
        size = self.preprocess.size
        x = to_tensor(self.preprocess, resized(films, size[0])).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = self.network.forward_features(x)
            answer = self.network.forward_head(features).float()
            cells = to_maps(features, self.network, size).float().permute(0, 2, 3, 1)  # (B, gh, gw, C)
            cells = F.layer_norm(cells, cells.shape[-1:])
        own = F.interpolate(
            self.projection(self._map(tuple(films.shape[-2:]))), cells.shape[1:3], mode="bilinear", antialias=True
        )
        far = F.mse_loss(own.permute(0, 2, 3, 1), cells)
        return self.answer_weight * answer_distance(logits, answer, exclusive=self.exclusive) + self.map_weight * far


def answer_distance(logits: Tensor, answer: Tensor, *, exclusive: bool) -> Tensor:
    """Kullback-Leibler divergence in nats from the teacher's softened answer to the student's, times temperature^2.

    ``logits`` and ``answer`` float (B, K): the mean over films, and over labels where these do not exclude each other.
    """
    if not exclusive:  # each label is a choice of two
        logits, answer = (torch.stack([torch.zeros_like(z), z], -1).flatten(0, 1) for z in (logits, answer))
    own, taught = (F.log_softmax(z / TEMPERATURE, dim=1) for z in (logits, answer))
    return F.kl_div(own, taught, reduction="batchmean", log_target=True) * TEMPERATURE**2


def _check(checkpoint: Checkpoint, config: TrainConfig, labels: LabelSet, preprocess: Preprocess) -> None:
    """ValueError where the checkpoint cannot teach this run, or would tell it of films that it must not have seen."""
    own = checkpoint.config
    if own.members:
        raise ValueError(f"`teacher` {checkpoint.name} is an ensemble; give one network")
    if own.labels != labels:
        known, learnt = (", ".join(each.names) for each in (own.labels, labels))
        raise ValueError(
            f"`teacher` {checkpoint.name} knows {known}, and this run learns {learnt}; give one of its task"
        )
    if (split := own.data.protocol) != config.protocol:
        raise ValueError(
            f"`teacher` {checkpoint.name} learnt from the {split} split and would pass on what it saw of this run's "
            f"val and test; give one of the {config.protocol} split"
        )
    if own.preprocess.crop != preprocess.crop:
        raise ValueError(f"`teacher` {checkpoint.name} sees films cropped otherwise; give one of the same `crop`")
