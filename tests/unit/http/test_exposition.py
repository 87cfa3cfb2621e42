"""Prometheus' text format, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from isocenter.http.exposition import Family, Kind, Sample, format_families


def test_families_are_sorted_and_say_what_they_are() -> None:
    text = format_families(
        [
            Family("b_count", Kind.COUNTER, "Bees.", (Sample(12),)),
            Family("a_size", Kind.GAUGE, "Ants.", (Sample(2.5),)),
        ]
    ).decode()
    assert text == (
        "# HELP a_size Ants.\n# TYPE a_size gauge\na_size 2.5\n"
        "# HELP b_count Bees.\n# TYPE b_count counter\nb_count 12\n"
    )


def test_large_numbers_keep_their_digits() -> None:
    text = format_families([Family("a", Kind.COUNTER, "A.", (Sample(123456789012345678),))])
    assert text.endswith(b"\na 123456789012345678\n")


def test_labels_of_any_text_are_read_back() -> None:
    value = 'a "b" \\ {c}\nd'
    text = format_families(
        [Family("a", Kind.GAUGE, "A.", (Sample(1, labels=(("x", value), ("y", "z"))),))]
    ).decode()
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"x": value, "y": "z"}


def test_histogram_is_read_back() -> None:
    samples = (
        Sample(1, "_bucket", (("le", "0.5"),)),
        Sample(3, "_bucket", (("le", "+Inf"),)),
        Sample(4.25, "_sum"),
        Sample(3, "_count"),
    )
    text = format_families([Family("a", Kind.HISTOGRAM, "A.", samples)]).decode()
    (family,) = text_string_to_metric_families(text)
    assert family.type == "histogram"
    assert [(sample.name, sample.value) for sample in family.samples] == [
        ("a_bucket", 1),
        ("a_bucket", 3),
        ("a_sum", 4.25),
        ("a_count", 3),
    ]


def test_time_follows_the_number() -> None:
    family = Family("a", Kind.GAUGE, "A.", (Sample(2.5),), timestamp_ms=1795465358112)
    assert format_families([family]).endswith(b"\na 2.5 1795465358112\n")
