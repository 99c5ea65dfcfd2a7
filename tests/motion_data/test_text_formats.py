"""BVH and ASF/AMC: read as other code reads them, written and read again, refused when broken."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datamodules.core import DataError
from datamodules.motion.readers import asf_amc, bvh
from datamodules.motion.skeleton import layout
from datamodules.motion.writers import write_bvh

from .bodies import AMC, ASF, BVH, by_scipy, motion, relative, tree


def write(path, text):
    path.write_text(text)
    return path


def in_order(read, clip):
    """Positions in the order of another clip's joints: files hold them depth first."""
    return read.positions[:, [read.skeleton.names.index(joint) for joint in clip.skeleton.names]]


# ---------------------------------------------------------------------- BVH
def test_bvh_channels_turn_in_the_order_in_which_they_stand(tmp_path):
    (clip,) = bvh.read(write(tmp_path / "walk1.bvh", BVH), root_offset="replace")
    assert (clip.name, clip.fps, len(clip), clip.skeleton.up) == ("walk1", 120.0, 3, "y")
    assert clip.skeleton.names == ("Hips", "Leg", "Leg_end", "Spine one", "Spine one_end")
    for frame in range(3):
        rows = np.array([1, 2, 93, 10, 20, 30, -40, 50, 60, 70, -80, 15, 50.5]) + frame * np.array(
            [1, 1, 1, 1, 1, 1, -1, 1, 1, 1, -1, 1, 1]
        )
        still = Rotation.identity()
        local = [
            Rotation.from_euler("YXZ", rows[3:6], degrees=True),
            Rotation.from_euler("XZY", rows[6:9], degrees=True),
            still,
            Rotation.from_euler("ZYX", rows[9:12], degrees=True),
            still,
        ]
        moved = [None, (10, -45, 1), (0, -45, 2), (0, rows[12], -3), (0, 30, 0)]
        true = by_scipy((-1, 0, 1, 0, 3), None, rows[[1, 2, 0]], local, moved) / 100
        assert relative(clip.positions[frame], true) < 1e-5
    assert clip.stretch == pytest.approx(0.01, rel=1e-3), "the spine moves by a cm around its mean"


@pytest.mark.parametrize("unit", [1.0, 10.0, 1000.0])
def test_bvh_lengths_become_metres(tmp_path, unit):
    clip = motion(skeleton=layout("humanml3d"))
    write_bvh(clip, tmp_path / "a.bvh", scale=unit)
    (read,) = bvh.read(tmp_path / "a.bvh", root_offset="replace")
    assert relative(in_order(read, clip), clip.positions) < 1e-5


def test_bvh_of_strange_size_asks_for_the_unit(tmp_path):
    clip = motion(skeleton=layout("humanml3d"))
    write_bvh(clip, tmp_path / "a.bvh", scale=39.37)
    with pytest.raises(DataError, match=r"a\.bvh: .* no human in m, dm, cm, mm\. Give scale="):
        bvh.read(tmp_path / "a.bvh")
    (read,) = bvh.read(tmp_path / "a.bvh", scale=1 / 39.37, root_offset="replace")
    assert relative(in_order(read, clip), clip.positions) < 1e-5


@pytest.mark.parametrize("order", ["ZXY", "ZYX", "XYZ"])
@pytest.mark.parametrize("name", ["humanml3d", "smplx", "beat", "deepmimic"])
def test_bvh_round_trip(tmp_path, name, order):
    clip = motion(5, skeleton=layout(name))
    write_bvh(clip, tmp_path / "a.bvh", order=order)
    (read,) = bvh.read(tmp_path / "a.bvh", root_offset="replace")
    assert read.fps == clip.fps
    assert set(read.skeleton.names) == set(clip.skeleton.names)
    assert relative(in_order(read, clip), clip.positions) < 1e-5


def test_bvh_round_trip_keeps_joints_that_move_in_their_parents(tmp_path):
    (clip,) = bvh.read(write(tmp_path / "a.bvh", BVH))
    write_bvh(clip, tmp_path / "b.bvh")
    (read,) = bvh.read(tmp_path / "b.bvh", root_offset="replace")
    assert read.skeleton.names == clip.skeleton.names
    assert relative(in_order(read, clip), clip.positions) < 1e-5


def test_bvh_written_has_braces_that_close_and_a_channel_a_value(tmp_path):
    write_bvh(motion(4), tmp_path / "a.bvh")
    text = (tmp_path / "a.bvh").read_text()
    head, rows = text.split("MOTION\n")
    assert head.count("{") == head.count("}") == 1 + 8 + 3  # joints, and the ends that mark leaves
    channels = sum(int(line.split()[1]) for line in head.splitlines() if "CHANNELS" in line)
    assert {len(row.split()) for row in rows.splitlines()[2:]} == {channels}
    assert channels == 6 + 3 * 7


def test_bvh_root_offset_is_added_only_where_that_puts_feet_on_the_ground(tmp_path):
    standing = BVH.replace("1 2 93 10 20 30", "1 2 0 0 0 0").replace("2 3 94 11 21 31", "1 2 0 0 0 0")
    standing = standing.replace("3 4 95 12 22 32", "1 2 0 0 0 0").replace("-40 50 60", "0 0 0")
    standing = standing.replace("-41 51 61", "0 0 0").replace("-42 52 62", "0 0 0")
    path = write(tmp_path / "a.bvh", standing)
    low = {how: float(bvh.read(path, root_offset=how)[0].positions[..., 1].min()) for how in ("auto", "add", "replace")}
    assert low == pytest.approx({"auto": 0.0, "add": 0.0, "replace": -0.9}, abs=1e-6)
    path = write(tmp_path / "b.bvh", standing.replace("1 2 0", "1 2 90"))
    assert float(bvh.read(path)[0].positions[..., 1].min()) == pytest.approx(0.0, abs=1e-6)


def test_bvh_that_stands_along_z_has_z_up(tmp_path):
    text = BVH.replace("10 -45 1", "10 1 -45").replace("0 -45 2", "0 2 -45")
    text = text.replace("0 50 -3", "0 -3 50").replace("0 30 0", "0 0 30")
    path = write(tmp_path / "a.bvh", text)
    assert bvh.read(path)[0].skeleton.up == "z"
    assert bvh.read(path, up="y")[0].skeleton.up == "y"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-80 15 50.5", "-80 15", r"a\.bvh:25: 12 values .* 13 finite ones"),
        ("-80 15 50.5", "-80 nan 50.5", r"a\.bvh:25: 13 values"),
        ("-80 15 50.5", "-80 x 50.5", r"a\.bvh:25: could not convert"),
        ("Frames: 3", "Frames: 4", r"a\.bvh:23: Frames: 4, but 3 rows follow"),
        ("Frame Time: 0.0083333", "Frame Time: 0", r"a\.bvh:24: Frame Time: 0"),
        ("Frame Time: 0.0083333\n", "", r"after MOTION come"),
        ("CHANNELS 3 X", "CHANNELS 4 X", r"a\.bvh:9: 'CHANNELS 4 .*how many"),
        ("Xrotation Zrotation Yrotation", "Xrotation Wrotation Yrotation", r"a\.bvh:9"),
        ("OFFSET 10 -45 1", "OFFSET 10 -45", r"a\.bvh:8: 2 values"),
        ("OFFSET 10 -45 1", "OFSET 10 -45 1", r"a\.bvh:8: 'OFSET 10 -45 1' has no place"),
        ("MOTION", "", r"has no place|no MOTION"),
        ("}\nMOTION", "MOTION", r"a\.bvh:21: MOTION before the braces"),
        ("JOINT Leg", "JOINT Hips", "two parts are called Hips"),
        ("ROOT Hips", "JOINT Hips", "one ROOT"),
    ],
)
def test_broken_bvh_is_refused_with_its_line(tmp_path, old, new, message):
    assert old in BVH
    with pytest.raises(DataError, match=message):
        bvh.read(write(tmp_path / "a.bvh", BVH.replace(old, new, 1)))


def test_a_wrong_frame_time_is_overridden_on_request(tmp_path, caplog):
    path = write(tmp_path / "a.bvh", BVH)
    assert bvh.read(path, fps=120)[0].fps == 120
    assert not caplog.records
    assert bvh.read(path, fps=31)[0].fps == 31
    assert "source_fps=31 is taken where files say 120" in caplog.text


# ---------------------------------------------------------------------- ASF/AMC
@pytest.fixture
def amc(tmp_path):
    write(tmp_path / "02.asf", ASF)
    return write(tmp_path / "02_01.amc", AMC)


def test_asf_bones_turn_about_their_own_axes(amc):
    (clip,) = asf_amc.read(amc, fps=120)
    assert clip.skeleton.names == ("root", "leg", "foot", "hip", "foot_end", "hip_end")
    inch = 0.0254 / 0.45

    def about(axis, turn):
        own = Rotation.from_euler("xyz", axis, degrees=True)
        return own * turn * own.inv()

    for frame in range(2):
        root = Rotation.from_euler("xyz", [10 + frame, -20 - frame, 30 + frame], degrees=True)
        leg = root * about([10, 20, 30], Rotation.from_euler("xz", [15 + frame, -25 - frame], degrees=True))
        foot = leg * about([-90, 0, 20], Rotation.from_euler("y", 40 + frame, degrees=True))
        start = np.array([1, 16, 3]) + frame / 2
        knee = start + leg.apply([4.8, -6.4, 0])
        true = np.stack([start, start, knee, start, knee + foot.apply([0, 0, 3]), start + root.apply([2, 0, 0])]) * inch
        assert relative(clip.positions[frame], true) < 1e-5


def test_asf_round_trip_through_bvh(amc, tmp_path):
    (clip,) = asf_amc.read(amc, fps=120)
    write_bvh(clip, tmp_path / "a.bvh")
    (read,) = bvh.read(tmp_path / "a.bvh", scale=1.0, root_offset="replace")
    assert relative(in_order(read, clip), clip.positions) < 1e-5


def test_asf_units_and_radians_are_those_of_the_files(amc):
    (degrees,) = asf_amc.read(amc, fps=120)
    turned = "\n".join(
        " ".join([word[0], *(f"{np.deg2rad(float(x)):.12f}" for x in word[1:])]) if word[0] in ("leg", "foot") else line
        for line in AMC.splitlines()
        if (word := line.split())
    )
    turned = turned.replace("10 -20 30", " ".join(map(str, np.deg2rad([10, -20, 30]))))
    turned = turned.replace("11 -21 31", " ".join(map(str, np.deg2rad([11, -21, 31]))))
    write(amc, turned.replace(":DEGREES", ":RADIANS"))
    (radians,) = asf_amc.read(amc, fps=120)
    assert relative(radians.positions, degrees.positions) < 1e-5
    write(amc.with_name("02.asf"), ASF.replace("length 0.45", "length 0.9"))
    (half,) = asf_amc.read(amc, fps=120)
    assert relative(2 * half.positions, radians.positions) < 1e-6


def test_amc_takes_its_rate_from_the_table_of_labels_or_asks(amc):
    with pytest.raises(DataError, match=r"02_01\.amc.*Give data\.source_fps="):
        asf_amc.read(amc)
    write(amc.with_name("labels.tsv"), "clip\tfps\tdescription\n02_01\t60\twalk\n")
    assert asf_amc.read(amc)[0].fps == 60
    assert asf_amc.read(amc, fps=120)[0].fps == 120


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("02_01.amc", "leg 15 -25", "leg 15", r"02_01\.amc:6: 1 values for bone leg, whose dof in 02\.asf are rx rz"),
        ("02_01.amc", "leg 15 -25", "leg 15 nan", r"02_01\.amc:6: .*finite"),
        ("02_01.amc", "leg 15 -25", "arm 15 -25", r"02_01\.amc:6: arm: no bone"),
        ("02_01.amc", "foot 41\n", "", r"frame 2 has no foot"),
        ("02_01.amc", "\n2\n", "\n3\n", r"frame 3 where 2 is due"),
        ("02.asf", ":hierarchy", ":tree", "no section :hierarchy"),
        ("02.asf", "root hip leg", "root hip arm", "bone arm is not in :bonedata"),
        ("02.asf", "root hip leg", "root hip", "leg, foot not below the root"),
        ("02.asf", "length 8", "length x", r"02\.asf:17"),
        ("02.asf", "orientation 0 0 0", "orientation 0 90 0", "orientation 0 0 0"),
        ("02.asf", "dof ry", "dof ry l", "only rx, ry, rz"),
    ],
)
def test_broken_asf_or_amc_is_refused_with_its_line(amc, file, old, new, message):
    path = amc.with_name(file)
    assert old in path.read_text()
    write(path, path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        asf_amc.read(amc, fps=120)


def test_amc_without_its_skeleton_is_refused(amc):
    amc.with_name("02.asf").rename(amc.with_name("07.asf"))
    asf_amc.read(amc, fps=120)  # the only one there
    amc.with_name("07.asf").unlink()
    with pytest.raises(DataError, match=r"0 skeletons .* none is 02\.asf"):
        asf_amc.read(amc, fps=120)


def test_positions_alone_cannot_be_written_as_bvh(tmp_path):
    clip = motion()
    flat = type(clip)("flat", 30, tree(), clip.root_pos, None, clip.positions)
    with pytest.raises(DataError, match="flat: BVH holds rotations"):
        write_bvh(flat, tmp_path / "a.bvh")
    with pytest.raises(DataError, match="order=YXZ"):
        write_bvh(clip, tmp_path / "a.bvh", order="YXZ")
