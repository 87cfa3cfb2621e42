"""Short calls of remote modalities, which end before their caller is answered.

References
----------
Orthanc REST: operations of modalities (behaviour manual §23.2)
"""

from isocenter.archive.modalities import Calling, CallOptions
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.queries import Queries
from isocenter.archive.received import Content
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import UNIQUE_KEYS, complete_query
from isocenter.dicom.uids import build_uid
from isocenter.scu.association_pool import AssociationPool
from isocenter.scu.echo import check_services
from isocenter.scu.failures import build_status_error
from isocenter.scu.find import STUDY_ROOT_FIND
from isocenter.scu.storage_session import StorageSession

__all__ = ["RemoteCalls"]


class RemoteCalls:
    """Tests modalities, and sends them files that are not stored."""

    def __init__(
        self, calling: Calling, outgoing: Outgoing, queries: Queries, associations: AssociationPool
    ) -> None:
        self._associations = associations
        self._calling = calling
        self._outgoing = outgoing
        self._queries = queries

    async def echo(
        self, modality: RemoteModality, options: CallOptions, *, checks_find: bool
    ) -> None:
        """Test a modality.

        Parameters
        ----------
        checks_find
            Ask it for a study that does not exist, too.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If it does not answer as it should.
        """
        target = self._calling.build_target(modality, options)
        if not checks_find:
            await check_services(target, "", {}, self._associations)
            return
        key = UNIQUE_KEYS[Level.STUDY][0]
        values = complete_query(Level.STUDY, {key: build_uid()}, modality.manufacturer)
        identifier = await self._queries.encode(values)
        await check_services(target, STUDY_ROOT_FIND, identifier, self._associations)

    async def store(
        self, modality: RemoteModality, content: Content, options: CallOptions
    ) -> tuple[str, str]:
        """Send a file to a modality without storing it here.

        Parameters
        ----------
        content
            Closed in any case.

        Returns
        -------
        tuple of str
            Its SOP class and SOP instance UIDs.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file.
        RemoteError, DeadlineExceededError
            If it could not be sent.
        """
        try:
            target = self._calling.build_target(modality, options)
            instance = await self._outgoing.open_content(content)
            async with StorageSession(target, (), self._associations) as session:
                result = await session.store(instance)
            if not result.is_stored:
                raise build_status_error(
                    "C-STORE", target.called_ae_title, result.status, result.error_comment
                )
            return instance.sop_class_uid, instance.sop_instance_uid
        finally:
            if not isinstance(content, bytes):
                content.close()
