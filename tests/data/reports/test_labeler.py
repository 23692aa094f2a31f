"""The report labeler: hand-written sentences for every observation, whole reports, and the floors on the gold set."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.reports import ReportLabeler
from hf_pneumo.data.reports.scoring import markdown_table, score_labels
from hf_pneumo.data.reports.sections import cut, prepare, split_sections
from hf_pneumo.data.reports.terms import expand

GOLD = Path(__file__).parents[1] / "report_sentences.csv"
KINDS = Path(__file__).parents[1] / "report_kinds.csv"
LATER = Path(__file__).parents[1] / "report_kinds_later.csv"  # of the same kinds, written after the rules

PHRASES = {
    "Enlarged Cardiomediastinum": ("mediastinal widening", "enlarged cardiomediastinal silhouette"),
    "Cardiomegaly": ("cardiomegaly", "cardiac enlargement"),
    "Lung Lesion": ("pulmonary nodule", "lung mass"),
    "Lung Opacity": ("airspace opacity", "infiltrate"),
    "Edema": ("pulmonary edema", "vascular congestion"),
    "Consolidation": ("consolidation", "focal consolidation"),
    "Pneumonia": ("pneumonia", "infectious process"),
    "Atelectasis": ("atelectasis", "lobar collapse"),
    "Pneumothorax": ("pneumothorax", "apical pneumothorax"),
    "Pleural Effusion": ("pleural effusion", "pleural fluid"),
    "Pleural Other": ("pleural thickening", "pleural plaques"),
    "Fracture": ("rib fracture", "compression deformity"),
    "Support Devices": ("endotracheal tube", "pacemaker"),
}
SENTENCES = {
    1: (
        "There is {}.",
        "Stable {} without other abnormality.",
        "No significant change in {}.",
        "{} has improved but persists.",
        "{} has not resolved.",
        "Partially resolved {}.",
        "No effusion seen previously, but {} is present.",
    ),
    0: (
        "No {}.",
        "There is no evidence of {}.",
        "Lungs and chest wall without {}.",
        "{} is not seen.",
        "{}: none.",
        # no longer seen, resolved
        "{} is no longer seen.",
        "The previously described {} has resolved.",
        "Interval resolution of {}.",
        # lists
        "No foreign body, free air or {}.",
        "Neither free air nor {} is seen.",
        "Negative for free air and {}.",
    ),
    -1: (
        "Possible {}.",
        "There may be {}.",
        "Cannot exclude {}.",
        "{} is not excluded.",
        "{} would be difficult to exclude.",
        "Findings suspicious for {}.",
        "{} is less likely.",
        "? {}",
    ),
    None: (
        "Family history of {}.",
        "History of {}.",
        "Compared to the prior study that showed {}, the chest is clear.",
        "COMPARISON: Film with {}. FINDINGS: Clear.",
        "INDICATION: Evaluate for {}. IMPRESSION: Normal.",
    ),
}


@pytest.fixture(scope="module")
def labeler() -> ReportLabeler:
    return ReportLabeler()


def values(labeler: ReportLabeler, report: str) -> dict[str, int]:
    return {name: value for name, value in labeler.label(report).items() if value is not None}


@pytest.mark.parametrize("name", PHRASES)
@pytest.mark.parametrize("value", SENTENCES)
def test_each_observation_in_each_kind_of_sentence(labeler: ReportLabeler, name: str, value: int | None) -> None:
    wrong = []
    for phrase in PHRASES[name]:
        for template in SENTENCES[value]:
            sentence = template.format(phrase)
            sentence = sentence[0].upper() + sentence[1:]
            if labeler.label(sentence)[name] != value:
                wrong.append((sentence, [str(mention) for mention in labeler.explain(sentence)]))
    assert not wrong


@pytest.mark.parametrize("first", range(len(PHRASES)))
def test_a_list_of_denied_observations_denies_each(labeler: ReportLabeler, first: int) -> None:
    names = [list(PHRASES)[(first + step) % len(PHRASES)] for step in (0, 3, 7)]
    a, b, c = (PHRASES[name][0] for name in names)
    for sentence in (f"No {a}, {b} or {c}.", f"There is no evidence of {a}, {b}, or {c}."):
        assert values(labeler, sentence) == {"No Finding": 1, **dict.fromkeys(names, 0)}, sentence


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        # The behaviour the CheXpert labeler publishes with its sample reports.
        (
            "Normal heart size, clear lungs. No pneumonia or edema. No effusions.",
            {"No Finding": 1, "Cardiomegaly": 0, "Pneumonia": 0, "Edema": 0, "Pleural Effusion": 0},
        ),
        (
            "1. Right pleural effusion and adjacent atelectasis.\n\n2. Enlarged heart without overt edema.",
            {"Cardiomegaly": 1, "Edema": 0, "Atelectasis": 1, "Pleural Effusion": 1},
        ),
        (
            "Patchy airspace disease in the lingula, may reflect consolidation or atelectasis.",
            {"Lung Opacity": 1, "Consolidation": -1, "Atelectasis": -1},
        ),
        ("1. Mild cardiomegaly, stable. 2. Lungs clear although hyperexpanded.", {"Cardiomegaly": 1}),
        # Aggregation: present over uncertain over absent.
        ("Possible pneumonia. Pneumonia in the left base.", {"Pneumonia": 1}),
        ("No pneumonia. Pneumonia cannot be excluded.", {"Pneumonia": -1}),
        ("Possible effusion. No pneumothorax.", {"Pleural Effusion": -1, "Pneumothorax": 0}),
        # No Finding looks past support devices, and at findings outside the fourteen.
        ("Endotracheal tube in place. Lungs clear.", {"No Finding": 1, "Support Devices": 1}),
        ("Large hiatal hernia. No effusion.", {"Pleural Effusion": 0}),
        ("Normal chest.", {"No Finding": 1}),
        # One phrase, several observations.
        ("Hydropneumothorax on the left.", {"Pneumothorax": 1, "Pleural Effusion": 1}),
        ("Congestive heart failure.", {"Edema": 1, "Cardiomegaly": -1}),
        ("No congestive heart failure.", {"No Finding": 1, "Edema": 0}),
        # The longest term wins.
        ("Pericardial effusion.", {}),
        ("Nodular opacity.", {"Lung Lesion": 1}),
        ("Vertebral collapse.", {"Fracture": 1}),
        ("Soft tissue edema of the arm.", {"No Finding": 1}),
        # Clauses.
        ("Cardiomegaly without effusion.", {"Cardiomegaly": 1, "Pleural Effusion": 0}),
        ("No pneumothorax, but a small effusion.", {"Pneumothorax": 0, "Pleural Effusion": 1}),
        ("No pneumothorax, stable cardiomegaly.", {"Pneumothorax": 0, "Cardiomegaly": 1}),
        ("Effusion has resolved but atelectasis persists.", {"Pleural Effusion": 0, "Atelectasis": 1}),
        ("A pneumothorax which was not seen on the prior study.", {"Pneumothorax": 1}),
        ("Opacity, atelectasis versus pneumonia.", {"Lung Opacity": 1, "Atelectasis": -1, "Pneumonia": -1}),
        ("Likely atelectasis, pneumonia less likely.", {"Atelectasis": -1, "Pneumonia": -1}),
        ("Bones: No fracture. Pleura: Small effusion.", {"Fracture": 0, "Pleural Effusion": 1}),
        # Organs and their states.
        ("Heart and mediastinum normal.", {"No Finding": 1, "Cardiomegaly": 0, "Enlarged Cardiomediastinum": 0}),
        ("Heart size is top normal.", {"Cardiomegaly": -1}),
        ("The heart is not enlarged.", {"No Finding": 1, "Cardiomegaly": 0}),
        ("The heart size is unchanged.", {"No Finding": 1}),
        ("Heart size normal, mediastinum widened.", {"Cardiomegaly": 0, "Enlarged Cardiomediastinum": 1}),
        # Writing.
        ("NO EFFUSION.CARDIOMEGALY IS STABLE", {"Pleural Effusion": 0, "Cardiomegaly": 1}),
        ("1) Cardiomegaly 2) Effusion 3) No edema", {"Cardiomegaly": 1, "Pleural Effusion": 1, "Edema": 0}),
        ("No effusion\nCardiomegaly", {"Pleural Effusion": 0, "Cardiomegaly": 1}),
        ("No pleural\neffusion or\npneumothorax", {"No Finding": 1, "Pleural Effusion": 0, "Pneumothorax": 0}),
        ("There isn\u2019t any\u00a0effusion", {"No Finding": 1, "Pleural Effusion": 0}),
    ],
)  # fmt: skip
def test_whole_reports(labeler: ReportLabeler, report: str, expected: dict[str, int]) -> None:
    assert values(labeler, report) == expected, [str(mention) for mention in labeler.explain(report)]


FORMS = {
    "[ ] Edema [x] Effusion": {"Edema": 0, "Pleural Effusion": 1},
    "[x] Effusion\n[ ] Edema\n[ ]Pneumothorax": {"Edema": 0, "Pneumothorax": 0, "Pleural Effusion": 1},
    "Edema [ ] Effusion [X] Pneumothorax []": {"Edema": 0, "Pneumothorax": 0, "Pleural Effusion": 1},
    "Lungs: [ ] consolidation [x] atelectasis": {"Consolidation": 0, "Atelectasis": 1},
    "Edema | yes | Effusion | no": {"Edema": 1, "Pleural Effusion": 0},
    "Edema (no), effusion (positive)": {"Edema": 0, "Pleural Effusion": 1},
    "Edema: resolved": {"No Finding": 1, "Edema": 0},
    "Edema: probable": {"Edema": -1},
    "Edema: true": {"Edema": 1},
    "Pneumonia: excluded": {"No Finding": 1, "Pneumonia": 0},
    "Pneumonia ruled out.": {"No Finding": 1, "Pneumonia": 0},
    "Pneumonia not ruled out.": {"Pneumonia": -1},
    "Pneumonia is to be excluded.": {"Pneumonia": -1},
    "Low probability of pneumonia.": {"No Finding": 1, "Pneumonia": 0},
    "Nothing to suggest pneumonia.": {"No Finding": 1, "Pneumonia": 0},
    "Effusion hasn't been demonstrated.": {"No Finding": 1, "Pleural Effusion": 0},
    "No e/o pneumothorax": {"No Finding": 1, "Pneumothorax": 0},
    "s/o pneumonia": {"Pneumonia": -1},
    "Nothing acute.": {"No Finding": 1},
}


@pytest.mark.parametrize("report", FORMS)
def test_boxes_bars_and_short_forms(labeler: ReportLabeler, report: str) -> None:
    assert values(labeler, report) == FORMS[report]


def test_parents_on_request() -> None:
    labeler = ReportLabeler(parents=True)
    assert values(labeler, "Cardiomegaly.") == {"Enlarged Cardiomediastinum": 1, "Cardiomegaly": 1}
    assert values(labeler, "Pneumonia.") == {"Lung Opacity": 1, "Consolidation": 1, "Pneumonia": 1}
    assert values(labeler, "Possible atelectasis.") == {"Atelectasis": -1}


def test_an_explanation_names_the_words_and_the_rule(labeler: ReportLabeler) -> None:
    report = "INDICATION: Pneumonia.\nFINDINGS: No evidence of pneumothorax. Effusion cannot be excluded."
    first, second = labeler.explain(report)
    assert (first.observation, first.value, first.rule, first.cue) == ("Pneumothorax", 0, "negation", "No evidence of")
    assert (second.value, second.rule, second.cue) == (-1, "hedge", "cannot be excluded")
    assert second.section == "findings"
    for mention in (first, second):
        assert report[mention.start : mention.end] == mention.words
    assert labeler.explain(report, "Pleural Effusion") == [second]
    assert labeler.explain("History of pneumonia.")[0].value is None
    with pytest.raises(ValueError, match="`observation` is 'Cough'"):
        labeler.explain(report, "Cough")


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("Großer Pleuraerguss rechts. Infiltrat im linken Unterlappen.", "not in English (German)"),
        ("Neumonía en el lóbulo inferior derecho.", "not in English (Spanish)"),
        ("FINDINGS: Pas d'épanchement. IMPRESSION: Examen normal.", "not in English (French)"),
        ("Sem sinais de pneumotórax.", "not in English (Portuguese)"),
        ("Non si osservano lesioni in atto.", "not in English (Italian)"),
        ("Geen pneumothorax. Pleuravocht links.", "not in English (Dutch)"),
        ("右下肺炎。", "not in English (Chinese or Japanese)"),
        ("Правосторонняя пневмония.", "not in English (Cyrillic letters)"),
        ("qwert zuiop", "too few words that are known"),
        ("Study cancelled.", "describes no film"),
        ("Images not available for review.", "describes no film"),
        ("XXXX XXXX.", "describes no film"),
        ("Evaluate for pneumonia.", "describes no film"),
        ("The chest radiograph was not performed.", "describes no film"),
    ],
)
def test_a_report_without_a_reading_in_english_is_blank(labeler: ReportLabeler, report: str, reason: str) -> None:
    assert values(labeler, report) == {}
    assert reason in labeler.blank_reason(report)
    (piped,) = labeler.pipe([report])
    assert np.isnan(piped).all()


@pytest.mark.parametrize("report", ["Clear.", "RLL PNA.", "No atelectasis.", "Large hiatal hernia.", "XXXX effusion."])
def test_a_short_english_report_has_no_reason_to_be_blank(labeler: ReportLabeler, report: str) -> None:
    assert labeler.blank_reason(report) is None


def test_reports_that_assert_nothing(labeler: ReportLabeler) -> None:
    with pytest.raises(ValueError, match="`report` is empty"):
        labeler.label(" \n 12 ")
    with pytest.raises(ValueError, match="no findings or impression, only indication"):
        labeler.label("INDICATION: pneumonia")
    with pytest.raises(TypeError, match="`report` is float"):
        labeler.label(float("nan"))


def test_pipe_keeps_order_and_hands_failures_over(labeler: ReportLabeler) -> None:
    reports = ["Pneumonia.", None, "No pneumonia.", "", "Possible pneumonia."]
    results = list(labeler.pipe(iter(reports)))
    column = CHEXPERT_14.index("Pneumonia")
    assert [result[column] for result in results[::2]] == [1, 0, -1]
    assert [type(result) for result in results[1::2]] == [TypeError, ValueError]


def test_sections() -> None:
    mimic = "EXAMINATION: Chest\n\nINDICATION: Cough.\n\nPA and lateral views. Lungs are clear.\n\nNOTIFICATION: None."
    text, _ = prepare(mimic)
    assert len(text) == len(mimic)
    assert text.replace(";", " ").split() == ["PA", "and", "lateral", "views.", "Lungs", "are", "clear."]
    headed = "70-year-old with pneumonia. FINDINGS: Clear. COMPARISON: Effusion. IMPRESSION (final): Normal."
    assert [s.name for s in split_sections(headed) if s.asserting] == ["findings", "impression"]
    lines = "Clinical history\nFall\nFindings\nNo fracture"
    assert prepare(lines)[0].split() == ["No", "fracture"]


def test_pieces_end_where_a_sentence_surely_does() -> None:
    text = (
        "   Seen by Mrs. Smith at 5 p.m. Friday; Clear lungs, effusion vs. Pleural thickening.  No nodule. 2. Heart big"
    )
    pieces = list(cut(text))
    assert [piece for _, piece in pieces] == [
        "Seen by Mrs. Smith at 5 p.m. Friday;", "Clear lungs, effusion vs. Pleural thickening.", "No nodule.",
        "2. Heart big",
    ]  # fmt: skip
    assert all(text[place:].startswith(piece) for place, piece in pieces)


def test_a_sentence_says_the_same_wherever_it_stands_and_however_often(labeler: ReportLabeler) -> None:
    alone = labeler.explain("No effusion or pneumothorax.")
    (_, *again) = labeler.explain("The heart is enlarged. No effusion or pneumothorax. No effusion or pneumothorax.")
    assert [(m.observation, m.value, m.words, m.rule, m.cue) for m in again] == 2 * [
        (m.observation, m.value, m.words, m.rule, m.cue) for m in alone
    ]
    assert [m.start for m in again] == [m.start + place for place in (23, 52) for m in alone]


def test_term_templates() -> None:
    assert expand("(left |)pleural (fluid|effusion)") == [
        "left pleural fluid", "left pleural effusion", "pleural fluid", "pleural effusion"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="unbalanced"):
        expand("(left pleural fluid")


@pytest.fixture(scope="module")
def gold_scores(labeler: ReportLabeler) -> dict[str, dict]:
    with GOLD.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = {}
    for split in ("dev", "heldout"):
        chosen = [row for row in rows if row["split"] == split]
        gold = np.array([[float(row[name] or "nan") for name in CHEXPERT_14] for row in chosen], dtype=np.float32)
        scores[split] = score_labels(np.stack(list(labeler.pipe(row["report"] for row in chosen))), gold)
    return scores


@pytest.mark.parametrize(("split", "floor", "exact"), [("dev", 0.97, 0.97), ("heldout", 0.9, 0.92)])
def test_floors_on_the_gold_sentences(gold_scores: dict[str, dict], split: str, floor: float, exact: float) -> None:
    """The held-out third was never read while terms and rules were tuned."""
    assert gold_scores[split]["exact"] >= exact
    for value, counts in gold_scores[split]["micro"].items():
        assert counts["precision"] >= floor and counts["recall"] >= floor, (value, counts)


def wrong_reports(labeler: ReportLabeler, rows: list[dict[str, str]]) -> list[str]:
    """The reports of which not all fourteen values are as the row says."""
    gold = np.array([[float(row[name] or "nan") for name in CHEXPERT_14] for row in rows], dtype=np.float32)
    labels = np.stack(list(labeler.pipe(row["report"] for row in rows)))
    same = ((labels == gold) | (np.isnan(labels) & np.isnan(gold))).all(axis=1)
    return [row["report"] for row, right in zip(rows, same, strict=True) if not right]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def kinds() -> dict[str, list[dict[str, str]]]:
    rows = read_rows(KINDS)
    return {kind: [row for row in rows if row["kind"] == kind] for kind in dict.fromkeys(row["kind"] for row in rows)}


def test_the_kinds_are_many_and_each_sentence_stands_once(kinds: dict[str, list[dict[str, str]]]) -> None:
    reports = [row["report"] for rows in kinds.values() for row in rows]
    assert len(kinds) >= 20 and len(reports) >= 250 and len(set(reports)) == len(reports)


def test_each_kind_of_sentence_is_read(labeler: ReportLabeler, kinds: dict[str, list[dict[str, str]]]) -> None:
    """Of a kind, nine sentences in ten have all fourteen values right (or all but one)."""
    for kind, rows in kinds.items():
        wrong = wrong_reports(labeler, rows)
        assert len(wrong) <= max(1, len(rows) // 10), (kind, wrong)


def test_sentences_written_after_the_rules_are_read(labeler: ReportLabeler) -> None:
    rows = read_rows(LATER)
    wrong = wrong_reports(labeler, rows)
    assert len(wrong) <= len(rows) // 20, wrong


def test_scores_by_hand() -> None:
    nan = np.nan
    labels = np.array([[1, nan], [0, -1], [1, 1]], dtype=np.float32)
    gold = np.array([[1, nan], [1, -1], [1, nan]], dtype=np.float32)
    scores = score_labels(labels, gold, names=("A", "B"))
    assert scores["observations"]["A"]["positive"] == {
        "precision": 1.0,
        "recall": 2 / 3,
        "hits": 2,
        "found": 2,
        "gold": 3,
    }
    assert scores["observations"]["A"]["negative"]["precision"] == 0.0
    assert scores["observations"]["A"]["negative"]["recall"] is None
    assert scores["observations"]["B"]["positive"] == {
        "precision": 0.0,
        "recall": None,
        "hits": 0,
        "found": 1,
        "gold": 0,
    }
    assert scores["exact"] == pytest.approx(1 / 3)
    assert "| A | 1.00 / 0.67 (3) | 0.00 / - (0) | - |" in markdown_table(scores)
    with pytest.raises(ValueError, match="must both be"):
        score_labels(labels, gold)
