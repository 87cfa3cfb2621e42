"""The DICOM listener, put together as the configuration asks."""

from isocenter.archive.archive import Archive
from isocenter.config.configuration import Configuration
from isocenter.dicom.confidentiality import load_profile
from isocenter.dicom.find_request import NameRule
from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import CommandField
from isocenter.dimse.transport import Timeouts
from isocenter.scp.dispatcher import Dispatcher, LocalTitle, Service, Services
from isocenter.scp.find import FindOptions, FindSCP, Searching
from isocenter.scp.permissions import Operation, build_permissions
from isocenter.scp.query_log import QueryLog
from isocenter.scp.storage import StorageSCP
from isocenter.scp.supported import ServiceKind, SupportedSyntaxes
from isocenter.scp.verification import handle_echo

__all__ = ["build_acceptor", "build_services"]


async def build_acceptor(configuration: Configuration, archive: Archive) -> AssociationAcceptor:
    """Build the listener of the DICOM server, not yet started.

    References
    ----------
    Orthanc: DICOM server side (behaviour manual §25)
    """
    permissions = await archive.workers.run(build_permissions, configuration)
    services = build_services(configuration, archive)
    dispatcher = Dispatcher(
        LocalTitle(
            configuration.text("DicomAet"), is_checked=configuration.boolean("DicomCheckCalledAet")
        ),
        permissions,
        SupportedSyntaxes(archive.acceptance, frozenset(kind for kind, _ in services)),
        services,
    )
    timeout_s = configuration.integer("DicomScpTimeout")
    options = AcceptorOptions(
        maximum_associations=configuration.integer("DicomThreadsCount"),
        maximum_length=configuration.integer("MaximumPduLength"),
        timeouts=Timeouts(silence_s=timeout_s or None),
    )
    return AssociationAcceptor(dispatcher, options)


def build_services(configuration: Configuration, archive: Archive) -> Services:
    """Build all services that the configuration offers."""
    storage = StorageSCP(archive.incoming)
    find = FindSCP(
        Searching(archive.finder, archive.browse, archive.lasting_answers),
        archive.workers,
        settings=archive.settings,
        options=_get_find_options(configuration),
        log=_build_query_log(configuration),
    )
    return {
        (ServiceKind.VERIFICATION, CommandField.C_ECHO_RQ): Service(Operation.ECHO, handle_echo),
        (ServiceKind.STORAGE, CommandField.C_STORE_RQ): Service(
            Operation.STORE, storage.handle, storage.open_sink
        ),
        (ServiceKind.FIND, CommandField.C_FIND_RQ): Service(Operation.FIND, find.handle),
    }


def _get_find_options(configuration: Configuration) -> FindOptions:
    return FindOptions(
        ae_title=configuration.text("DicomAet"),
        rule=NameRule(in_names=configuration.boolean("CaseSensitivePN")),
    )


def _build_query_log(configuration: Configuration) -> QueryLog:
    if not configuration.boolean("DeidentifyLogs"):
        return QueryLog(None)
    return QueryLog(load_profile(configuration.text("DeidentifyLogsDicomVersion")))
