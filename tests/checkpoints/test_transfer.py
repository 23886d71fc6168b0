from hfbiasedit.checkpoints.transfer import copy_private, shares_blocks


def test_whether_a_copy_takes_room_is_found_by_trying(tmp_path):
    file = tmp_path / "shard"
    file.write_bytes(b"x" * 8192)
    told = shares_blocks(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]
    assert told == (copy_private(file, tmp_path / "copy") == "reflinked")
    assert not shares_blocks(file, tmp_path / "absent")
