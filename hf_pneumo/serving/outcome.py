"""What becomes of one film: judged (a Finding), not judged with a reason (NotJudged), or a read error (XrayReadError).

All three say which by ``status``, and why by ``reason``, which a judged film leaves empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from hf_pneumo.explain import Box, Explanation, boxes
from hf_pneumo.imaging.xray import Xray, XrayReadError
from hf_pneumo.models.config import NO_VERDICT
from hf_pneumo.serving.admission import Refusal

JUDGED, NOT_JUDGED, ERROR = "judged", "not judged", XrayReadError.status

NORMAL, NONE_POSITIVE = "normal", "none positive"  # every finding is absent; every one that could be judged is


@dataclass(frozen=True, eq=False)
class Finding:
    """What a checkpoint says of one film.

    ``probabilities``: calibrated, per label, in [0, 1]. ``scores``, ``verdicts``: per score (see `data.labels`), a
    verdict being "positive", "negative", "uncertain", or "not judged" where too few validation films stand behind the
    threshold (see `checkpoint.OperatingPoint`). ``thresholds``, ``abstain``, ``sets``: of the scores with a verdict.
    ``verdict``: one word for the film ("normal", "uncertain", "none positive" where some findings were not judged), or
    the names of its findings. ``leading``: the finding that stands first, the likeliest of the positive ones, else of
    the uncertain ones, else of all; never the label that stands for nothing found.
    ``explanation`` and ``boxes``: in the pixels of ``film``, None and empty when none was asked for. ``notes``: what
    was noticed while reading and cropping it. ``suspect``: what makes the picture unlike the films that were learnt
    from (see `models.ood_detector`), None when nothing does; the verdict on a suspect picture is "uncertain", whatever
    the scores. ``sets``: by score all answers that the film may have at the stated ``coverage``; empty without them.
    ``fitted``: whether the operating point was fitted to these weights. ``overridden``: why the film would not have
    been judged without ``judge_anyway``; None for an ordinary one.
    """

    status: ClassVar[str] = JUDGED
    reason: ClassVar[str] = ""

    film: Xray
    probabilities: dict[str, float]
    scores: dict[str, float]
    thresholds: dict[str, float]
    abstain: dict[str, tuple[float, float]]
    verdicts: dict[str, str]
    verdict: str
    leading: str
    explanation: Explanation | None
    boxes: tuple[Box, ...]
    notes: tuple[str, ...]
    model: str
    revision: str | None
    suspect: str | None = None
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    coverage: float | None = None
    fitted: bool = True
    overridden: Refusal | None = None

    @property
    def probability(self) -> float:
        """The calibrated probability of :attr:`leading`, in [0, 1]: of disease where the labels exclude each other."""
        return self.scores[self.leading]

    @property
    def map(self) -> Explanation:
        """The explanation of a film that was judged with one. Raises ValueError where none was asked for."""
        if self.explanation is None:
            raise ValueError("the film was judged without an explanation; give the method of one")
        return self.explanation

    def is_called(self, target: str) -> bool:
        """Whether the label ``target`` is, or may be, on the film: boxes around the evidence of others mean nothing.

        Of a contrast "A - B" it is A that counts.
        """
        target = target.partition(" - ")[0]
        absent = self.verdict in (NORMAL, NONE_POSITIVE)
        return not absent and self.verdicts.get(target) not in ("negative", NO_VERDICT)

    def with_boxes(self, threshold: float | str, when_normal: bool) -> Finding:
        """The same finding with boxes of ``threshold``; none of a label that is not called unless ``when_normal``.

        ``threshold``: as `explain.boxes` takes it. Raises ValueError where the film was judged without an explanation.
        """
        wanted = when_normal or self.is_called(self.map.target)
        return replace(self, boxes=tuple(boxes(self.map.heatmap, threshold=threshold, positive=wanted)))


@dataclass(frozen=True, eq=False)
class NotJudged:
    """A film that was read and not judged. It has no probability, no set, no map and no boxes.

    ``refusal``: why, as :class:`~hf_pneumo.serving.admission.Refusal`. ``notes``: what was noticed while reading it.
    """

    status: ClassVar[str] = NOT_JUDGED

    film: Xray
    refusal: Refusal
    notes: tuple[str, ...]
    model: str
    revision: str | None

    @property
    def reason(self) -> str:
        """The reason in a sentence."""
        return self.refusal.sentence


Outcome = Finding | NotJudged
