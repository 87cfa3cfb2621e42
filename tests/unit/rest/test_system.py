"""What the server is and how much it holds."""

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

from isocenter.version import __version__

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Behaviour manual §36.1; clients look each of them up.
KEYS = """ApiVersion Version Name DatabaseVersion DatabaseServerIdentifier DatabaseBackendPlugin
StorageAreaPlugin DicomAet DicomPort HttpPort DicomDefaultRetrieveMethod IsHttpServerSecure
PluginsEnabled CheckRevisions StorageCompression OverwriteInstances OverwriteInstancesMode
IngestTranscoding StoreMD5ForAttachments MaximumStorageSize MaximumStorageMode MaximumPatientCount
PatientLevelEnabled ReadOnly MainDicomTags UserMetadata HasLabels Capabilities Performance
ThirdPartyPatches ThirdPartyVersions"""


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "Name": "Näme",
        "DicomAet": "ARCHIVE",
        "OverwriteInstances": "Always",
        "UserMetadata": {"ward": 1024},
        "MaximumStorageSize": 7,
        "MaximumStorageMode": "Reject",
        "MaximumPatientCount": 3,
        "DicomThreadsCount": 9,
        "Isocenter.TagsCacheSizeMB": 5,
    }


async def test_system_has_every_key_that_clients_look_up(api: Api) -> None:
    system = await api.get_json("/system")
    assert set(system) == {*KEYS.split(), "IsocenterVersion"}
    assert system["IsocenterVersion"] == __version__
    assert system["Name"] == "Näme"
    assert system["DicomAet"] == "ARCHIVE"
    assert (system["OverwriteInstances"], system["OverwriteInstancesMode"]) == (True, "Always")
    assert isinstance(system["ApiVersion"], int)


async def test_system_lists_the_main_tags_of_each_level(api: Api) -> None:
    main_tags = (await api.get_json("/system"))["MainDicomTags"]
    assert list(main_tags) == ["Instance", "Patient", "Series", "Study"]
    assert main_tags["Patient"] == "0010,0010;0010,0020;0010,0030;0010,0040;0010,1000"


async def test_statistics_count_everything_that_is_stored(api: Api) -> None:
    first = await api.store()
    second = await api.store(build_synthetic(patient_id=first.patient_id))
    size = len(first.content) + len(second.content)
    assert await api.get_json("/statistics") == {
        "CountPatients": 1,
        "CountStudies": 2,
        "CountSeries": 2,
        "CountInstances": 2,
        "TotalDiskSize": str(size),
        "TotalDiskSizeMB": 0,
        "TotalUncompressedSize": str(size),
        "TotalUncompressedSizeMB": 0,
    }


async def test_system_tells_what_is_configured(api: Api) -> None:
    system = await api.get_json("/system")
    assert system["UserMetadata"] == {"ward": 1024}
    assert (system["MaximumStorageSize"], system["MaximumPatientCount"]) == (7, 3)
    assert system["MaximumStorageMode"] == "Reject"
    assert (system["PatientLevelEnabled"], system["ReadOnly"]) == (True, False)
    assert system["IngestTranscoding"] == ""
    assert system["Performance"]["DicomThreadsCount"] == 9
    assert system["Performance"]["TagsCacheSizeMB"] == 5
    assert len(system["Performance"]) == 16


async def test_system_offers_labels_and_extended_search_and_changes(api: Api) -> None:
    system = await api.get_json("/system")
    assert system["HasLabels"] is True
    assert system["Capabilities"] == {
        "HasExtendedChanges": True,
        "HasExtendedFind": True,
        "HasKeyValueStores": False,
        "HasQueues": False,
        "HasReserveQueueValue": False,
    }
    assert system["ThirdPartyPatches"] == []
    assert system["ThirdPartyVersions"] == {"python": "3"}


async def test_there_are_no_plugins_but_their_script(api: Api) -> None:
    assert await api.get_json("/plugins") == ["explorer.js"]
    script = await api.get("/plugins/explorer.js")
    assert script.headers["content-type"] == "application/javascript"
    assert script.text.startswith("//")
    assert (await api.get("/plugins/worklists")).status_code == 404
