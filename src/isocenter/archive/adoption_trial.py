"""The trial before another archive is adopted: all is looked at, nothing is changed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from isocenter.dicom.levels import Level
from isocenter.index.foreign import ForeignAttachment
from isocenter.index.orthanc import OrthancIndex
from isocenter.storage.taking import FileTaker

__all__ = ["AdoptionReport", "Finding", "OnFinding", "OnProgress", "find_fault", "run_trial"]

_BATCH = 2_000
_CONTENT_TYPES = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know of a resource.

    Attributes
    ----------
    resource
        Its address, such as ``/instances/{id}``.
    attachment_uuid
        The file concerned, or empty.
    is_damage
        False if nothing is lost.
    """

    resource: str
    reason: str
    attachment_uuid: str = ""
    is_damage: bool = True


@dataclass(slots=True)
class AdoptionReport:
    """What was looked at or adopted so far.

    Attributes
    ----------
    counts
        Resources that were made, by level.
    present
        Instances that were there already.
    attachments, bytes
        Attachments that were adopted (in a trial: looked at), and the size of their files.
    linked
        Those of them that were linked, not copied.
    changes, exports
        Entries of the logs.
    damaged, noted
        Findings that are damage, and others.
    """

    counts: Counter[Level] = field(default_factory=Counter)
    present: int = 0
    attachments: int = 0
    bytes: int = 0
    linked: int = 0
    changes: int = 0
    exports: int = 0
    damaged: int = 0
    noted: int = 0

    def note(self, finding: Finding) -> None:
        """Count a finding."""
        if finding.is_damage:
            self.damaged += 1
        else:
            self.noted += 1


OnFinding = Callable[[Finding], None]
"""Called for each finding."""

OnProgress = Callable[[AdoptionReport], None]
"""Called after each batch."""


def find_fault(files: FileTaker, foreign: ForeignAttachment) -> str | None:
    """Tell why an attachment cannot be adopted, or ``None``."""
    attachment = foreign.attachment
    if foreign.is_elsewhere:
        return "a storage plugin of Orthanc keeps this file"
    if not foreign.is_sound or attachment.content_type not in _CONTENT_TYPES:
        return "its entry in the index makes no sense"
    return files.find_fault(attachment.attachment_uuid, attachment.compressed_size)


def run_trial(
    source: OrthancIndex,
    files: FileTaker,
    *,
    on_finding: OnFinding,
    on_progress: OnProgress = lambda _: None,
) -> AdoptionReport:
    """Look whether everything could be adopted; nothing is written anywhere. Blocks.

    The index is checked for damage, and each file for its name, its size, and whether it may be
    read.

    Raises
    ------
    BackendError
        If the index is damaged.
    DatabaseUnavailableError
        If somebody writes to it.
    """
    source.check_sound()
    report = AdoptionReport()
    for batch in source.iter_attachments(_BATCH):
        for resource, foreign in batch:
            report.attachments += 1
            report.bytes += foreign.attachment.compressed_size
            reason = find_fault(files, foreign)
            if reason is not None:
                finding = Finding(resource, reason, foreign.attachment.attachment_uuid)
                report.note(finding)
                on_finding(finding)
        source.check_unchanged()
        on_progress(report)
    return report
