"""The retrieval service on the same association: C-GET.

References
----------
PS3.4 §C.4.3; PS3.7 §9.1.3; Orthanc: C-GET (behaviour manual §25.5)
"""

from contextlib import aclosing

from isocenter.archive.outgoing import OutgoingInstance
from isocenter.archive.recoded_files import RecodedFiles, choose_accepted
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.errors import NoPresentationContextError, ServerError
from isocenter.scp.retrieval import RetrievePlanner, refuse_retrieval
from isocenter.scp.sub_operations import SubOperations
from isocenter.scu.store import InstanceToStore, StorageSCU

__all__ = ["GetSCP"]


class GetSCP:
    """Sends what is asked for over the association of the question.

    Parameters
    ----------
    recoded_files
        Opens files whose transfer syntax the peer does not take; ``None`` to send these never
        (option ``TranscodeDicomProtocol``).
    """

    def __init__(self, retrieval: RetrievePlanner, recoded_files: RecodedFiles | None) -> None:
        self._retrieval = retrieval
        self._recoded_files = recoded_files

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve a C-GET request."""
        try:
            plan = await self._retrieval.plan(association, message, "C-GET")
        except ServerError as error:
            await refuse_retrieval(association, message, error)
            return
        progress = SubOperations(association, message, len(plan.instances))
        scu = StorageSCU(association)

        async def open_file(instance: OutgoingInstance) -> InstanceToStore:
            return await self._open(association, instance)

        opening = self._retrieval.iter_opened(plan.instances, open_file)
        async with aclosing(opening) as opened_files:
            async for sop_instance_uid, opened in opened_files:
                if not progress.is_wanted:
                    break
                if isinstance(opened, ServerError):
                    progress.note_failure(sop_instance_uid, opened.details or opened.message)
                else:
                    result = await scu.store(opened)
                    progress.note(result.status, sop_instance_uid)
                await progress.send_pending()
        await progress.send_final()

    async def _open(
        self, association: DimseAssociation, instance: OutgoingInstance
    ) -> InstanceToStore:
        """Open a file in a transfer syntax that the requestor takes for its SOP class.

        Raises
        ------
        NoPresentationContextError
            If there is none.
        """
        accepted = {
            context.transfer_syntax_uid
            for context in association.find_contexts(instance.sop_class_uid)
            if context.requestor_is_scp
        }
        if instance.transfer_syntax_uid in accepted:
            return await self._retrieval.outgoing.open(instance)
        if self._recoded_files is not None:
            target = choose_accepted(instance.transfer_syntax_uid, accepted)
            if target is not None:
                return await self._recoded_files.open(instance, target)
        raise NoPresentationContextError(
            f"the requestor takes no {instance.sop_class_uid} in transfer syntax "
            f"{instance.transfer_syntax_uid}"
        )
