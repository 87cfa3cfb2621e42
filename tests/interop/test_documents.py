"""Encapsulated documents, made by DCMTK, as Orthanc returns them."""

import subprocess
from pathlib import Path

from tests.support.dicom_files import build_instance
from tests.support.orthanc import run_pair
from tests.support.requirements import require_program

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"


def test_pdf_is_returned_as_by_orthanc(tmp_path: Path) -> None:
    encapsulate = require_program("pdf2dcm", "dcmtk")
    files = [build_instance()]
    contents = (PDF, PDF + b"\n")
    for number, content in enumerate(contents):
        source, made = tmp_path / f"{number}.pdf", tmp_path / f"{number}.dcm"
        source.write_bytes(content)
        subprocess.run([encapsulate, source, made], check=True, timeout=30)
        files.append(made.read_bytes())
    with run_pair(tmp_path / "pair") as pair:
        pair.load(files)
        answers = []
        for public_id in [*pair.isocenter.request("GET", "/instances").json(), "unknown"]:
            ours, theirs = pair.both("GET", f"/instances/{public_id}/pdf")
            assert (ours.status, ours.content_type) == (theirs.status, theirs.content_type) or (
                ours.status == theirs.status == 404
            )
            if ours.status == 200:
                assert ours.body in contents
                # Orthanc takes the last byte for padding even if the document ends with it.
                assert theirs.body in (ours.body, ours.body[:-1])
            answers.append(ours.status)
        assert sorted(answers) == [200, 200, 404, 404]
