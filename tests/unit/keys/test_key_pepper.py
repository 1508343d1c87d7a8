"""The file of the pepper: made once, for its owner only."""

from pathlib import Path
from stat import S_IMODE

from app.keys.pepper import FILE_NAME, kept_pepper


def test_a_pepper_is_made_for_its_owner_only_whatever_was_left_in_its_way(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(mode=0o644)
    (tmp_path / f"{FILE_NAME}.new").symlink_to(elsewhere)
    made = kept_pepper(tmp_path, has_keys=False)
    kept = tmp_path / FILE_NAME
    assert (kept.is_symlink(), S_IMODE(kept.stat().st_mode), elsewhere.read_bytes()) == (False, 0o600, b"")
    assert kept_pepper(tmp_path, has_keys=True) == made
