"""Going on with a table loses nothing that is in it, nor what others write into it meanwhile."""

from pathlib import Path

import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.label.book import open_book
from tsal_dist.pack.formats.table import read_csv
from tsal_dist.records import Layout

LAYOUT = Layout(("nose",))
HEAD = "path,frame,x1,y1,x2,y2,face_px,nose_x,nose_y,nose_v\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEAD}a.avi,1,1,2,30,40.5,25.25,5,6,1\na.avi,2,,,,,,7,8,2\n")
    return path


def faces(path):
    return {(one.path, one.frame): one.face for one in read_csv(path, Path())}


def test_box_and_size_of_a_line_stay(table):
    book = open_book(table, LAYOUT)
    book.put("a.avi", 0, [(9, 9, 1)], book.revision("a.avi", 0))
    face = faces(table)["a.avi", 0]
    assert (face.box, face.face_px, face.points_K2.tolist()) == ((1, 2, 30, 40.5), 25.25, [[9, 9]])
    book.put("a.avi", 0, [(0, 0, 0)], book.revision("a.avi", 0))
    face = faces(table)["a.avi", 0]
    assert (face.box, face.face_px, face.points_K2) == ((1, 2, 30, 40.5), 25.25, None)
    assert faces(table)["a.avi", 1].face_px is None


@pytest.mark.parametrize("column", ["note", "nose_score", "found"])
def test_a_table_with_a_column_that_would_be_lost_is_refused(table, column):
    text = table.read_text().replace("nose_v\n", f"nose_v,{column}\n").replace("6,1\n", "6,1,1\n")
    table.write_text(text.replace("8,2\n", "8,2,1\n"))
    with pytest.raises(ConfigError, match=f"has the columns '{column}', which would be lost.*--out"):
        open_book(table, LAYOUT)


def test_a_table_with_two_lines_of_a_frame_is_refused(table):
    table.write_text(table.read_text() + "a.avi,2,,,,,,1,1,1\n")
    with pytest.raises(ConfigError, match=r"two lines of Frame 2 of a\.avi.*`subject`"):
        open_book(table, LAYOUT)


def test_two_books_of_one_table_keep_each_others_lines(tmp_path):
    one, other = (open_book(tmp_path / "new.csv", LAYOUT) for _ in range(2))
    one.put("a.avi", 0, [(1, 2, 1)])
    other.put("b.avi", 0, [(3, 4, 1)])
    one.put("a.avi", 5, [(5, 6, 1)])
    assert set(faces(tmp_path / "new.csv")) == {("a.avi", 0), ("b.avi", 0), ("a.avi", 5)}


def test_of_two_books_the_later_does_not_replace_a_label_that_it_has_not_seen(tmp_path):
    one, other = (open_book(tmp_path / "new.csv", LAYOUT) for _ in range(2))
    one.put("a.avi", 0, [(1, 2, 1)])
    with pytest.raises(ConfigError, match=r"Frame 1 of a\.avi has another label .* Load the page again"):
        other.put("a.avi", 0, [(3, 4, 1)])
    assert other.marks("a.avi", 0) == [(1, 2, 1)], "and now it has seen it"
    other.put("a.avi", 0, [(3, 4, 1)], other.revision("a.avi", 0))
    assert faces(tmp_path / "new.csv")["a.avi", 0].points_K2.tolist() == [[3, 4]]


def test_what_was_edited_in_the_file_stays(table):
    book = open_book(table, LAYOUT)
    seen = book.revision("a.avi", 1)
    table.write_text(table.read_text().replace("5,6,1", "50,60,1") + "c.avi,9,,,,,,1,1,1\n")
    book.put("a.avi", 1, [(70, 80, 1)], seen)
    found = faces(table)
    assert found["a.avi", 0].points_K2.tolist() == [[50, 60]]
    assert found["a.avi", 1].points_K2.tolist() == [[70, 80]]
    assert ("c.avi", 8) in found


def test_an_edit_elsewhere_does_not_make_a_label_another(tmp_path):
    """In the file places are rounded, and a label that is read back is still the same."""
    book = open_book(tmp_path / "new.csv", LAYOUT)
    book.put("a.avi", 0, [(1234.56789, 2 / 3, 1)])
    seen = book.revision("a.avi", 0)
    open_book(tmp_path / "new.csv", LAYOUT).put("b.avi", 0, [(1, 1, 1)])
    book.put("a.avi", 0, [(1, 2, 1)], seen)
    assert faces(tmp_path / "new.csv")["a.avi", 0].points_K2.tolist() == [[1, 2]]


def test_a_column_that_came_meanwhile_is_not_lost(table):
    book = open_book(table, LAYOUT)
    text = "path,frame,nose_x,nose_y,note\na.avi,1,5,6,mine\n"
    table.write_text(text)
    with pytest.raises(ConfigError, match="'note', which would be lost"):
        book.put("a.avi", 1, [(9, 9, 1)], book.revision("a.avi", 1))
    assert table.read_text() == text


def test_a_table_that_is_gone_is_written_again_whole(table):
    book = open_book(table, LAYOUT)
    table.unlink()
    book.put("b.avi", 0, [(9, 9, 1)])
    assert len(faces(table)) == 3
