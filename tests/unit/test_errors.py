import pytest

from isocenter import errors
from isocenter.errors import ServerError, UnknownResourceError, build_error, leaves

# Orthanc REST: error codes (behaviour manual §37): code and HTTP status of each kind.
CODES = {
    "BadRequestError": (8, 400),
    "BadParameterError": (3, 400),
    "ParameterTypeError": (5, 400),
    "BadFileFormatError": (15, 400),
    "BadJsonError": (28, 400),
    "UnknownResourceError": (17, 404),
    "UnauthorizedError": (29, 401),
    "FullStorageError": (19, 507),
    "RevisionConflictError": (43, 409),
}


def iter_tree(root: type[ServerError] = ServerError) -> list[type[ServerError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in iter_tree(child))]


@pytest.mark.parametrize(("name", "expected"), CODES.items())
def test_error_has_code_and_status_of_the_manual(name: str, expected: tuple[int, int]) -> None:
    kind = getattr(errors, name)

    assert (kind.code, kind.http_status) == expected


def test_leaves_are_the_kinds_without_children() -> None:
    assert set(leaves()) == {kind for kind in iter_tree() if not kind.__subclasses__()}
    assert len(leaves()) == len(set(leaves()))


@pytest.mark.parametrize("kind", iter_tree(), ids=lambda kind: kind.__name__)
def test_every_error_is_usable(kind: type[ServerError]) -> None:
    bare, detailed = kind(), kind("what was wrong", payload={"Type": "Dimse"})

    assert str(bare) == kind.message
    assert str(detailed) == detailed.details == "what was wrong"
    assert (bare.payload, detailed.payload) == (None, {"Type": "Dimse"})
    assert 400 <= kind.http_status <= 599
    assert kind.__name__.endswith("Error")
    assert kind.__name__ in errors.__all__


def test_leaves_of_a_branch_stay_within_it() -> None:
    assert UnknownResourceError in leaves(errors.MissingError)
    assert all(issubclass(kind, errors.MissingError) for kind in leaves(errors.MissingError))


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_leaf_stands_in_the_drawing(kind: type[ServerError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__.removesuffix("Error") in errors.__doc__


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (8, errors.RequestError),
        (14, errors.StorageUnavailableError),
        (17, errors.UnknownResourceError),
        (46, errors.ConflictError),
        (2018, errors.UnstorableInstanceError),
        (999_999, errors.InternalError),
    ],
)
def test_error_is_built_again_from_its_number(code: int, kind: type[ServerError]) -> None:
    assert type(build_error(code, "details")) is kind
