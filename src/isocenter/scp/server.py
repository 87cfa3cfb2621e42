"""The DICOM listener, put together as the configuration asks."""

from dataclasses import dataclass

from isocenter.archive.archive import Archive
from isocenter.archive.recoded_files import RecodedFiles
from isocenter.archive.recoding import build_recoding
from isocenter.config.configuration import Configuration
from isocenter.dicom.confidentiality import load_profile
from isocenter.dicom.find_request import NameRule
from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import CommandField
from isocenter.dimse.transport import Timeouts
from isocenter.jobs.engine import Engine
from isocenter.scp.commitment import CommitmentSCP
from isocenter.scp.dispatcher import Dispatcher, LocalTitle, Service, Services
from isocenter.scp.event_report import EventReportSCU
from isocenter.scp.find import FindOptions, FindSCP, Searching
from isocenter.scp.get import GetSCP
from isocenter.scp.move import Destinations, MoveSCP
from isocenter.scp.permissions import Operation, Permissions, build_permissions
from isocenter.scp.query_log import QueryLog
from isocenter.scp.retrieval import RetrievePlanner
from isocenter.scp.storage import StorageSCP
from isocenter.scp.supported import ServiceKind, SupportedSyntaxes
from isocenter.scp.verification import handle_echo
from isocenter.scp.worklists import WorklistSCP

__all__ = ["build_acceptor"]


async def build_acceptor(
    configuration: Configuration, archive: Archive, jobs: Engine
) -> AssociationAcceptor:
    """Build the listener of the DICOM server, not yet started.

    References
    ----------
    Orthanc: DICOM server side (behaviour manual §25)
    """
    known = archive.remotes.modalities.values()
    permissions = await archive.workers.run(build_permissions, configuration, known)
    services = _Builder(configuration, archive, permissions, jobs).build()
    dispatcher = Dispatcher(
        LocalTitle(
            configuration.text("DicomAet"), is_checked=configuration.boolean("DicomCheckCalledAet")
        ),
        permissions,
        SupportedSyntaxes(archive.acceptance, frozenset(kind for kind, _ in services)),
        services,
        {
            Operation.FIND: archive.measures.find_scp,
            Operation.FIND_WORKLIST: archive.measures.find_scp,
            Operation.MOVE: archive.measures.move_scp,
            Operation.GET: archive.measures.get_scp,
        },
    )
    timeout_s = configuration.integer("DicomScpTimeout")
    options = AcceptorOptions(
        maximum_associations=configuration.integer("DicomThreadsCount"),
        maximum_length=configuration.integer("MaximumPduLength"),
        timeouts=Timeouts(silence_s=timeout_s or None),
    )
    return AssociationAcceptor(dispatcher, options)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds the services that the configuration offers."""

    configuration: Configuration
    archive: Archive
    permissions: Permissions
    jobs: Engine

    def build(self) -> Services:
        storage = StorageSCP(self.archive.incoming, self.archive.acceptance)
        log = _build_query_log(self.configuration)
        find = self._build_find(log)
        retrieval = RetrievePlanner(
            self.archive.finder,
            self.archive.remotes.outgoing,
            self.archive.workers,
            self.archive.settings,
            log,
        )
        destinations = Destinations(
            self.archive.remotes.modalities,
            self.archive.remotes.calling,
            self.permissions,
        )
        move, get = self._build_move(retrieval, destinations), self._build_get(retrieval)
        commitment = CommitmentSCP(
            self.jobs, destinations.get_caller, self.archive.settings, self.archive.workers
        )
        reporting = EventReportSCU(
            self.archive.remotes.commitment_reports, self.archive.settings, self.archive.workers
        )
        verification = Service(Operation.ECHO, handle_echo)
        storing = Service(Operation.STORE, storage.handle, storage.open_sink)
        return self._build_worklists(log) | {
            (ServiceKind.VERIFICATION, CommandField.C_ECHO_RQ): verification,
            (ServiceKind.STORAGE, CommandField.C_STORE_RQ): storing,
            (ServiceKind.FIND, CommandField.C_FIND_RQ): Service(Operation.FIND, find.handle),
            (ServiceKind.MOVE, CommandField.C_MOVE_RQ): Service(Operation.MOVE, move.handle),
            (ServiceKind.GET, CommandField.C_GET_RQ): Service(Operation.GET, get.handle),
            (ServiceKind.COMMITMENT, CommandField.N_EVENT_REPORT_RQ): Service(
                Operation.REPORT, reporting.handle
            ),
            (ServiceKind.COMMITMENT, CommandField.N_ACTION_RQ): Service(
                Operation.COMMIT, commitment.handle
            ),
        }

    def _build_find(self, log: QueryLog) -> FindSCP:
        archive = self.archive
        return FindSCP(
            Searching(archive.finder, archive.browse, archive.lasting_answers),
            archive.workers,
            settings=archive.settings,
            options=_get_find_options(self.configuration),
            log=log,
        )

    def _build_worklists(self, log: QueryLog) -> dict[tuple[ServiceKind, int], Service]:
        archive = self.archive
        if not archive.worklists.options.is_enabled:
            return {}
        worklists = WorklistSCP(archive.worklists, archive.settings, archive.workers, log)
        service = Service(Operation.FIND_WORKLIST, worklists.handle)
        return {(ServiceKind.WORKLIST, CommandField.C_FIND_RQ): service}

    def _build_get(self, retrieval: RetrievePlanner) -> GetSCP:
        archive = self.archive
        may_recode = self.configuration.boolean("TranscodeDicomProtocol")
        recoded = RecodedFiles(archive.workers, archive.buffers, archive.transcoder)
        return GetSCP(retrieval, recoded if may_recode else None)

    def _build_move(self, retrieval: RetrievePlanner, destinations: Destinations) -> MoveSCP:
        is_synchronous = self.configuration.boolean("SynchronousCMove")
        jobs = None if is_synchronous else self.jobs
        retries = self.configuration.integer("Isocenter.TransferRetries")
        recoding = build_recoding(
            self.configuration, self.archive.workers, self.archive.buffers, self.archive.transcoder
        )
        return MoveSCP(retrieval, destinations, jobs, retries=retries, recoding=recoding)


def _get_find_options(configuration: Configuration) -> FindOptions:
    return FindOptions(
        ae_title=configuration.text("DicomAet"),
        rule=NameRule(in_names=configuration.boolean("CaseSensitivePN")),
    )


def _build_query_log(configuration: Configuration) -> QueryLog:
    if not configuration.boolean("DeidentifyLogs"):
        return QueryLog(None)
    return QueryLog(load_profile(configuration.text("DeidentifyLogsDicomVersion")))
