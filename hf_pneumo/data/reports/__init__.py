"""Weak labels from free-text radiology reports."""

from hf_pneumo.data.reports.labeler import Mention, ReportLabeler

__all__ = ["Mention", "ReportLabeler"]
