"""Modalities that are kept, or not, and how they are called."""

import ssl
from pathlib import Path

import pytest
from tests.unit.rest.api import open_api

from isocenter.archive.modalities import Calling, CallOptions
from isocenter.config.remote_modalities import RemoteModality
from isocenter.errors import RemoteError, UnknownItemError

CT = RemoteModality("CT", "10.0.0.5", 104)
CALLING = Calling("US", 10, 16384)


@pytest.mark.parametrize("is_kept", [True, False])
async def test_modalities_outlive_a_restart_if_they_are_kept(tmp_path: Path, is_kept: bool) -> None:
    options: dict[str, object] = {
        "DicomModalitiesInDatabase": is_kept,
        "DicomModalities": {"fixed": ["FIXED", "h", 1]},
    }
    async with open_api(tmp_path, options) as api:
        modalities = api.archive.remotes.modalities
        assert list(modalities) == ([] if is_kept else ["fixed"])
        await modalities.put("ct", CT)
        await modalities.put("mr", CT)
        await modalities.delete("mr")
        view = modalities.values()
        assert CT in view
    async with open_api(tmp_path, options) as api:
        known = await api.archive.remotes.modalities.list_known()
        assert known == ({"ct": CT} if is_kept else {"fixed": RemoteModality("FIXED", "h", 1)})
        with pytest.raises(UnknownItemError):
            await api.archive.remotes.modalities.get_known("mr")


@pytest.mark.parametrize(
    ("modality", "options", "title", "timeout_s"),
    [
        (CT, CallOptions(), "US", 10),
        (RemoteModality("CT", "h", 1, local_ae_title="ME", timeout_s=3), CallOptions(), "ME", 3),
        (RemoteModality("CT", "h", 1, local_ae_title="ME"), CallOptions("CALL", 0), "CALL", None),
    ],
)
def test_target_takes_the_nearest_title_and_timeout(
    modality: RemoteModality, options: CallOptions, title: str, timeout_s: int | None
) -> None:
    target = CALLING.build_target(modality, options)
    assert (target.calling_ae_title, target.timeout_s) == (title, timeout_s)
    assert target.ssl_context is None


def test_target_of_modality_with_tls_needs_certificates() -> None:
    modality = RemoteModality("CT", "h", 1, use_dicom_tls=True)
    with pytest.raises(RemoteError, match="DicomTlsTrustedCertificates"):
        CALLING.build_target(modality)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling = Calling("US", 10, 16384, context)
    assert calling.build_target(modality).ssl_context is context
    assert calling.build_target(CT).ssl_context is None
