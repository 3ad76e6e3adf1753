import pytest

from pgcast.frames.codec import serializer_for
from pgcast.model.errors import FrameError


@pytest.mark.parametrize(
    ("vsn", "version"), [("1.0.0", "1.0.0"), ("1.0.7", "1.0.0"), ("2.0.0", "2.0.0"), ("2.0.12", "2.0.0")]
)
def test_any_1_0_x_or_2_0_x_is_spoken(vsn, version):
    assert serializer_for(vsn).version == version


def test_no_vsn_at_all_means_1_0_0():
    assert serializer_for(None).version == "1.0.0"


@pytest.mark.parametrize("vsn", ["", "1", "2.0", "3.0.0", "1.1.0", "2.0.0 ", "2.0.x", "2.0.٣", "12.0.0", "2.0.0.0"])
def test_any_other_version_is_a_frame_error_that_says_what_is_spoken(vsn):
    with pytest.raises(FrameError) as caught:
        serializer_for(vsn)

    assert caught.value.hint == "vsn is 1.0.0 or 2.0.0"


def test_all_connections_of_a_version_share_one_serializer():
    assert serializer_for("2.0.0") is serializer_for("2.0.1")
