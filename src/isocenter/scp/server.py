"""The DICOM listener, put together as the configuration asks."""

from isocenter.archive.archive import Archive
from isocenter.config.configuration import Configuration
from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.transport import Timeouts
from isocenter.scp.dispatcher import Dispatcher, LocalTitle
from isocenter.scp.permissions import build_permissions
from isocenter.scp.storage import StorageSCP
from isocenter.scp.supported import SupportedSyntaxes

__all__ = ["build_acceptor"]


async def build_acceptor(configuration: Configuration, archive: Archive) -> AssociationAcceptor:
    """Build the listener of the DICOM server, not yet started.

    References
    ----------
    Orthanc: DICOM server side (behaviour manual §25)
    """
    permissions = await archive.workers.run(build_permissions, configuration)
    dispatcher = Dispatcher(
        LocalTitle(
            configuration.text("DicomAet"), is_checked=configuration.boolean("DicomCheckCalledAet")
        ),
        permissions,
        SupportedSyntaxes(archive.acceptance),
        StorageSCP(archive.incoming),
    )
    timeout_s = configuration.integer("DicomScpTimeout")
    options = AcceptorOptions(
        maximum_associations=configuration.integer("DicomThreadsCount"),
        maximum_length=configuration.integer("MaximumPduLength"),
        timeouts=Timeouts(silence_s=timeout_s or None),
    )
    return AssociationAcceptor(dispatcher, options)
