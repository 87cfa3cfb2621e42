"""The use cases that make new instances of stored ones, or of nothing."""

from dataclasses import dataclass

from isocenter.archive.core import Core
from isocenter.archive.creation import CreationOptions, Creator
from isocenter.archive.edit_trials import EditTrials
from isocenter.archive.instance_editor import InstanceEditor
from isocenter.archive.modifications import ModificationOptions, Modifications
from isocenter.archive.options import get_overwrite
from isocenter.archive.reading import Reading
from isocenter.archive.regrouping import Regroupings
from isocenter.archive.staging import Stager
from isocenter.archive.uploads import Uploads
from isocenter.config.configuration import Configuration
from isocenter.dicom.tags import TagDictionary

__all__ = ["Edits", "build_edits"]


@dataclass(frozen=True, slots=True)
class Edits:
    """What makes new instances.

    Attributes
    ----------
    editor
        Edits one instance; the result is not stored.
    creator
        Makes instances of tags, images and documents.
    modifications, regroupings
        Plan the jobs that modify, split and merge.
    trials
        Tell what a modification would do.
    stager
        Keeps the results of a job until all of them are published.
    """

    editor: InstanceEditor
    creator: Creator
    modifications: Modifications
    regroupings: Regroupings
    trials: EditTrials
    stager: Stager


def build_edits(
    configuration: Configuration, core: Core, uploads: Uploads, reading: Reading
) -> Edits:
    """Build them as the configuration asks."""
    buffers, dictionary = reading.buffers, reading.dictionary
    options = _get_modification_options(configuration, core, dictionary)
    modifications = Modifications(core.workers, options)
    return Edits(
        editor=InstanceEditor(core.workers, buffers, core.settings, core.transcoder),
        creator=_build_creator(configuration, core, uploads, dictionary),
        modifications=modifications,
        regroupings=Regroupings(core.workers, core.storage, core.settings, options),
        trials=EditTrials(core.workers, buffers, modifications, core.staging),
        stager=Stager(core.storage, buffers, core.ingest.blobs, core.staging),
    )


def _build_creator(
    configuration: Configuration, core: Core, uploads: Uploads, dictionary: TagDictionary
) -> Creator:
    private_creator = configuration.text("DefaultPrivateCreator")
    options = CreationOptions(core.settings, dictionary, private_creator)
    return Creator(core.workers, core.storage, core.ingest, uploads.new_content, options)


def _get_modification_options(
    configuration: Configuration, core: Core, dictionary: TagDictionary
) -> ModificationOptions:
    return ModificationOptions(
        main_tags=core.main_tags,
        rules=core.rules,
        overwrite=get_overwrite(configuration),
        has_patient_level=configuration.boolean("PatientLevelEnabled"),
        private_creator=configuration.text("DefaultPrivateCreator"),
        dictionary=dictionary,
    )
