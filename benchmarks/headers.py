"""Headers of the synthetic instances: about 120 data elements each, as scanners write them.

Patients, hospitals, devices and people are fictitious. The identifiers are placeholders that
``studies`` overwrites in place.
"""

from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
WORD_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"

_Row = tuple[str, Any]

_COMMON: tuple[_Row, ...] = (
    ("SpecificCharacterSet", "ISO_IR 100"),
    ("InstanceCreationDate", "20240517"),
    ("InstanceCreationTime", "101530.125000"),
    ("StudyDate", "20240517"),
    ("SeriesDate", "20240517"),
    ("AcquisitionDate", "20240517"),
    ("ContentDate", "20240517"),
    ("StudyTime", "100712.000000"),
    ("SeriesTime", "101205.250000"),
    ("AcquisitionTime", "101501.500000"),
    ("ContentTime", "101502.000000"),
    ("AccessionNumber", "BENCH-ACC-0042"),
    ("InstitutionName", "Hospital of the Invented Coast"),
    ("InstitutionAddress", "1 Phantom Road, 00000 Nowhere"),
    ("ReferringPhysicianName", "Referrer^Fictitious^^Dr."),
    ("StationName", "BENCHSTATION1"),
    ("InstitutionalDepartmentName", "Department of Synthetic Imaging"),
    ("PerformingPhysicianName", "Performer^Fictitious"),
    ("NameOfPhysiciansReadingStudy", "Reader^Fictitious"),
    ("OperatorsName", "Operator^Fictitious"),
    ("PatientBirthDate", "19700101"),
    ("PatientBirthTime", "000000"),
    ("PatientSex", "O"),
    ("OtherPatientIDs", "BENCH-OTHER-ID"),
    ("PatientAge", "054Y"),
    ("PatientSize", "1.75"),
    ("PatientWeight", "72.5"),
    ("MedicalAlerts", "NONE"),
    ("Allergies", "NONE"),
    ("PregnancyStatus", 4),
    ("PatientComments", "Synthetic patient, generated for a benchmark"),
    ("DeviceSerialNumber", "00042"),
    ("SoftwareVersions", ["synthetic 1.0", "reconstruction 2.1"]),
    ("StudyID", "BENCH1"),
    ("PatientPosition", "HFS"),
    ("AcquisitionNumber", 1),
    ("SeriesNumber", 3),
    ("ImagePositionPatient", ["-124.5", "-131.25", "87.5"]),
    ("ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"]),
    ("PositionReferenceIndicator", "NASION"),
    ("SliceLocation", "87.5"),
    ("ImageComments", "Synthetic image without diagnostic content"),
    ("TemporalPositionIdentifier", 1),
    ("NumberOfTemporalPositions", 1),
    ("SamplesPerPixel", 1),
    ("PhotometricInterpretation", "MONOCHROME2"),
    ("BitsAllocated", 16),
    ("SmallestImagePixelValue", 0),
    ("LargestImagePixelValue", 4095),
    ("RescaleType", "US"),
    ("RequestingPhysician", "Requester^Fictitious"),
    ("RequestingService", "Service of Synthetic Requests"),
    ("RequestedProcedureDescription", "Synthetic examination of a phantom"),
    ("CurrentPatientLocation", "WARD 0"),
    ("PerformedStationAETitle", "BENCHSTATION"),
    ("PerformedStationName", "BENCHSTATION1"),
    ("PerformedLocation", "ROOM 0"),
    ("PerformedProcedureStepStartDate", "20240517"),
    ("PerformedProcedureStepStartTime", "100712"),
    ("PerformedProcedureStepEndDate", "20240517"),
    ("PerformedProcedureStepEndTime", "102540"),
    ("PerformedProcedureStepStatus", "COMPLETED"),
    ("PerformedProcedureStepID", "BENCH-STEP-1"),
    ("PerformedProcedureStepDescription", "Synthetic procedure step"),
    ("CommentsOnThePerformedProcedureStep", "Nothing was performed"),
    ("PresentationLUTShape", "IDENTITY"),
)

_CT: tuple[_Row, ...] = (
    ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"]),
    ("Modality", "CT"),
    ("Manufacturer", "Invented Tomography Works"),
    ("ManufacturerModelName", "Phantom CT 64"),
    ("StudyDescription", "CT thorax, synthetic"),
    ("SeriesDescription", "Thorax 1.0 B30f"),
    ("BodyPartExamined", "CHEST"),
    ("ProtocolName", "Thorax routine"),
    ("ScanOptions", "HELICAL MODE"),
    ("SliceThickness", "1.0"),
    ("KVP", "120"),
    ("SpacingBetweenSlices", "1.0"),
    ("DataCollectionDiameter", "500"),
    ("ReconstructionDiameter", "360"),
    ("DistanceSourceToDetector", "1040"),
    ("DistanceSourceToPatient", "570"),
    ("GantryDetectorTilt", "0"),
    ("TableHeight", "142.5"),
    ("RotationDirection", "CW"),
    ("ExposureTime", 500),
    ("XRayTubeCurrent", 210),
    ("Exposure", 105),
    ("FilterType", "BODY FILTER"),
    ("GeneratorPower", 25),
    ("FocalSpots", "1.2"),
    ("DateOfLastCalibration", "20240501"),
    ("TimeOfLastCalibration", "060000"),
    ("ConvolutionKernel", "B30f"),
    ("SingleCollimationWidth", 0.6),
    ("TotalCollimationWidth", 38.4),
    ("SpiralPitchFactor", 0.9),
    ("Rows", 512),
    ("Columns", 512),
    ("PixelSpacing", ["0.703125", "0.703125"]),
    ("BitsStored", 12),
    ("HighBit", 11),
    ("PixelRepresentation", 0),
    ("WindowCenter", ["40", "-600"]),
    ("WindowWidth", ["400", "1500"]),
    ("RescaleIntercept", "-1024"),
    ("RescaleSlope", "1"),
    ("WindowCenterWidthExplanation", ["MEDIASTINUM", "LUNG"]),
)

_MR: tuple[_Row, ...] = (
    ("ImageType", ["ORIGINAL", "PRIMARY", "M", "NORM"]),
    ("Modality", "MR"),
    ("Manufacturer", "Invented Resonance Works"),
    ("ManufacturerModelName", "Phantom MR 1.5"),
    ("StudyDescription", "MR head, synthetic"),
    ("SeriesDescription", "t2_tse_tra_448"),
    ("BodyPartExamined", "HEAD"),
    ("ProtocolName", "Head routine"),
    ("ScanningSequence", "SE"),
    ("SequenceVariant", ["SK", "SP", "OSP"]),
    ("ScanOptions", "SAT1"),
    ("MRAcquisitionType", "2D"),
    ("SequenceName", "*tse2d1_15"),
    ("AngioFlag", "N"),
    ("SliceThickness", "5"),
    ("RepetitionTime", "4000"),
    ("EchoTime", "96"),
    ("NumberOfAverages", "1"),
    ("ImagingFrequency", "63.676"),
    ("ImagedNucleus", "1H"),
    ("EchoNumbers", 1),
    ("MagneticFieldStrength", "1.5"),
    ("SpacingBetweenSlices", "6"),
    ("NumberOfPhaseEncodingSteps", 358),
    ("EchoTrainLength", 15),
    ("PercentSampling", "80"),
    ("PercentPhaseFieldOfView", "90"),
    ("PixelBandwidth", "130"),
    ("TransmitCoilName", "Body"),
    ("AcquisitionMatrix", [0, 448, 358, 0]),
    ("InPlanePhaseEncodingDirection", "ROW"),
    ("FlipAngle", "150"),
    ("VariableFlipAngleFlag", "N"),
    ("SAR", "0.842"),
    ("dBdt", "0"),
    ("Rows", 256),
    ("Columns", 256),
    ("PixelSpacing", ["0.8984375", "0.8984375"]),
    ("BitsStored", 12),
    ("HighBit", 11),
    ("PixelRepresentation", 0),
    ("WindowCenter", "600"),
    ("WindowWidth", "1200"),
)

_PRIVATE_TEXT = 24


def _build_item(rows: Iterable[_Row]) -> Dataset:
    """Build an item of a sequence."""
    item = Dataset()
    for keyword, value in rows:
        setattr(item, keyword, value)
    return item


def _add_sequences(header: Dataset) -> None:
    """Add the sequences that a modality with a worklist writes."""
    code = _build_item(
        (
            ("CodeValue", "SYN-001"),
            ("CodingSchemeDesignator", "99BENCH"),
            ("CodeMeaning", "Synthetic procedure"),
        )
    )
    header.ProcedureCodeSequence = Sequence([code])
    header.RequestAttributesSequence = Sequence(
        [
            _build_item(
                (
                    ("RequestedProcedureID", "BENCH-RP-1"),
                    ("ScheduledProcedureStepID", "BENCH-SPS-1"),
                    ("ScheduledProcedureStepDescription", "Synthetic scheduled step"),
                    ("ScheduledProtocolCodeSequence", Sequence([code])),
                )
            )
        ]
    )
    header.ReferencedImageSequence = Sequence(
        [
            _build_item(
                (
                    ("ReferencedSOPClassUID", header.SOPClassUID),
                    ("ReferencedSOPInstanceUID", f"2.25.4242{number}"),
                )
            )
            for number in range(3)
        ]
    )


def _add_private(header: Dataset) -> None:
    """Add two private blocks: short texts, and binary values of the size vendors use."""
    texts = header.private_block(0x0019, "BENCH SYNTHETIC TEXT", create=True)
    for offset in range(8):
        texts.add_new(offset, "LO", f"private value {offset} ".ljust(_PRIVATE_TEXT, "x"))
    values = header.private_block(0x0029, "BENCH SYNTHETIC DATA", create=True)
    values.add_new(0x08, "CS", "BENCH 1")
    values.add_new(0x10, "OB", bytes(range(256)) * 2)
    values.add_new(0x20, "FD", [0.5, 1.5, 2.5])


def build_header(modality: str) -> Dataset:
    """Build the header of a synthetic image.

    Parameters
    ----------
    modality
        ``CT`` or ``MR``.

    Returns
    -------
    pydicom.Dataset
        About 120 elements at the top level, without identifiers and without Pixel Data.

    References
    ----------
    PS3.3 §A.3, §A.4
    """
    header = Dataset()
    header.SOPClassUID = CT_IMAGE_STORAGE if modality == "CT" else MR_IMAGE_STORAGE
    for keyword, value in _COMMON + (_CT if modality == "CT" else _MR):
        setattr(header, keyword, value)
    _add_sequences(header)
    _add_private(header)
    return header


def build_large_header(frames: int) -> Dataset:
    """Build the header of a multi-frame instance of 512 KiB per frame.

    Parameters
    ----------
    frames
        Number of Frames.

    Returns
    -------
    pydicom.Dataset
        Header without identifiers and without Pixel Data.

    References
    ----------
    PS3.3 §A.8.4
    """
    header = build_header("CT")
    header.SOPClassUID = WORD_SECONDARY_CAPTURE
    header.NumberOfFrames = frames
    return header
