"""The options that only this server has, in the section ``Isocenter``."""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.shapes import BOOLEAN, COUNT, ROUTING_RULES
from isocenter.config.values import ChoiceKind, IntegerKind, MapKind

__all__ = ["OWN_GROUPS"]

OWN_GROUPS = (
    Group(
        "Isocenter",
        (
            Option(
                "Isocenter.DurableIndex",
                BOOLEAN,
                default=True,
                effect=Effect.FULL,
                meaning="Force the index to disk before a change is acknowledged. If false, a "
                "power failure may lose the latest changes; annotating and deleting are faster, "
                "and so is storing without a journal.",
            ),
            Option(
                "Isocenter.JournalSizeMB",
                IntegerKind(0, 65536),
                default=128,
                unit="MB",
                effect=Effect.FULL,
                meaning="Room of the journal that makes received files durable with few syncs; it "
                "lies in `StorageDirectory`. 0 syncs each file by itself, which is slower.",
            ),
            Option(
                "Isocenter.IngestThreads",
                IntegerKind(1, 256),
                default=8,
                effect=Effect.FULL,
                meaning="Threads that read and write files for requests and jobs.",
            ),
            Option(
                "Isocenter.SpoolThresholdKB",
                IntegerKind(0, 2**31),
                default=1024,
                unit="kB",
                effect=Effect.FULL,
                meaning="Larger uploads wait in a file of `TemporaryDirectory` instead of in "
                "memory.",
            ),
            Option(
                "Isocenter.TagsCacheSizeMB",
                IntegerKind(0, 65536),
                default=64,
                unit="MB",
                effect=Effect.FULL,
                meaning="Memory for the tags of instances that were asked for before.",
            ),
            Option(
                "Isocenter.LogDeletions",
                BOOLEAN,
                default=False,
                effect=Effect.FULL,
                meaning="Note what is deleted in the log of changes, as changes of the type "
                "`Deleted`. Without it, as in Orthanc, the changes of a deleted resource vanish "
                "and nothing tells of it.",
            ),
            Option(
                "Isocenter.OverwriteInPlace",
                BOOLEAN,
                default=False,
                effect=Effect.FULL,
                meaning="An instance that is overwritten keeps its labels, user metadata and user "
                "attachments, and so do the series, study and patient above it. Without it, as in "
                "Orthanc, they are lost where the instance was the only one.",
            ),
            Option(
                "Isocenter.SynchronousJobTimeout",
                IntegerKind(1, 10_000_000),
                default=3600,
                unit="s",
                effect=Effect.FULL,
                meaning="How long a client that waits for a job is kept waiting. The job goes on, "
                "and the answer says where to look.",
            ),
            Option(
                "Isocenter.ConcurrentJobsPerKind",
                MapKind(COUNT),
                default={},
                effect=Effect.FULL,
                meaning="Most jobs of a kind that run at once, of all servers together, such as "
                '`{"Archive": 1}`; with 0 they wait until that is changed, and a kind that is not '
                "named has no limit of its own.",
            ),
            Option(
                "Isocenter.ConcurrentJobsPerDestination",
                COUNT,
                default=0,
                effect=Effect.FULL,
                meaning="Most jobs that send to the same modality or peer at once; 0 for no limit.",
            ),
            Option(
                "Isocenter.TransferRetries",
                COUNT,
                default=12,
                effect=Effect.FULL,
                meaning="How often a job that sends in the background tries again while its "
                "destination cannot be reached, since the last instance that arrived. A call that "
                "waits for its job fails at once, unless it says `Retries`.",
            ),
            Option(
                "Isocenter.TransferRetryDelay",
                IntegerKind(1, 2**31),
                default=5,
                unit="s",
                effect=Effect.FULL,
                meaning="How long such a job waits before the first new attempt; then twice as "
                "long each time.",
            ),
            Option(
                "Isocenter.TransferRetryLongestDelay",
                IntegerKind(1, 2**31),
                default=600,
                unit="s",
                effect=Effect.FULL,
                meaning="The longest such wait.",
            ),
            Option(
                "Isocenter.Routing",
                ROUTING_RULES,
                default={},
                effect=Effect.FULL,
                meaning="Rules that send what arrives to modalities or peers: "
                '`{"heads": {"Destination": {"Modality": "pacs"}, "Modality": ["CT"], '
                '"OriginAet": ["SCANNER*"], "Tags": {"StudyDescription": "*HEAD*"}}}`, with '
                "`Trigger` (`StableStudy`, `StableSeries`, `NewInstance`), `Delay` in seconds, "
                '`QuietHours` (`[["07:00", "19:00"]]`), `Retries`, `Priority`, `Permissive`, '
                "`Enabled`. Clients may add others (`/routing`).",
            ),
            Option(
                "Isocenter.QueryRetrieveAge",
                IntegerKind(1, 2**31),
                default=7 * 86400,
                unit="s",
                effect=Effect.FULL,
                meaning="How long the answers to queries to remote modalities are kept.",
            ),
            Option(
                "Isocenter.JobOutputsSizeMB",
                IntegerKind(1, 2**31),
                default=51200,
                unit="MB",
                effect=Effect.FULL,
                meaning="Room for the archives that jobs have made; the oldest go first.",
            ),
            Option(
                "Isocenter.JobOutputsAge",
                IntegerKind(1, 2**31),
                default=86400,
                unit="s",
                effect=Effect.FULL,
                meaning="How long the archives that jobs have made are kept for download.",
            ),
            Option(
                "Isocenter.LogFormat",
                ChoiceKind(("text", "json")),
                default="text",
                effect=Effect.FULL,
                meaning="Form of the log: lines for people, or one JSON object per line for log "
                "collectors.",
            ),
            Option(
                "Isocenter.LogLevel",
                ChoiceKind(("debug", "info", "warning", "error")),
                default="info",
                effect=Effect.FULL,
                meaning="Least severity that is logged.",
            ),
        ),
    ),
)
"""The groups of own options, in the order of the documentation."""
