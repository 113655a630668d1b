"""Maps of folders: vectors, neighbours, duplicates, a plane, and what is written of them."""

import csv
import struct

import numpy as np
import pytest
from cases import tasks as small
from cases import weight_folders

from wsjax import maps
from wsjax.maps import embed, picture
from wsjax.tasks.regression import Regression
from wsjax.zoos.from_files import read_folder

TANH = {"activation": "tanh"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = weight_folders.folder(tmp_path_factory.mktemp("nets"))
    return embed(read_folder(path, config=TANH), neighbours=3)


def test_statistics_are_standardised_and_named(made):
    assert made.encoder == "statistics"
    assert made.vectors.shape == (8, 7 * 6)
    names = [a.name for a in made.folder.zoo.spec.arrays]
    assert made.columns[:2] == (f"{names[0]}.mean", f"{names[0]}.variance")
    last = made.vectors[:, -7:]  # the one bias of the output: its variance is 0
    np.testing.assert_allclose(made.vectors.mean(0), 0, atol=1e-6)
    deviations = made.vectors.std(0)
    assert deviations[made.columns.index(f"{names[-1]}.variance")] == 0 or last.any()
    np.testing.assert_allclose(deviations[deviations > 0], 1, rtol=1e-5)
    assert made.removed == ("sign",)
    plain = embed(made.folder.path)
    assert plain.removed == ()
    raw = plain.folder.zoo.params(slice(None))[names[0]].reshape(8, -1).mean(1)
    np.testing.assert_allclose(plain.vectors[:, 0], (raw - raw.mean()) / raw.std(), atol=1e-5)


def test_rescaled_copies_have_the_statistics_of_their_originals(tmp_path):
    for i in range(4):
        weight_folders.write(tmp_path / f"net_{i}.pt", weight_folders.mlp(i))
    copy = weight_folders.moved(weight_folders.mlp(2), 1, "relu")
    near = {name: array * np.float32(1.01) for name, array in copy.items()}
    weight_folders.write(tmp_path / "net_4.pt", near)
    known = embed(read_folder(tmp_path, config={"activation": "relu"}))
    assert known.removed == ("scale",)
    assert known.duplicates == ()
    name, distance = known.nearest(4)[0]
    assert (name, distance < 0.1 * np.median(known.distances)) == ("net_2.pt", True)
    stored = embed(tmp_path)
    assert stored.nearest(4)[0][1] > 0.5 * np.median(stored.distances)


def test_neighbours_are_those_of_brute_force(made):
    apart = np.linalg.norm(made.vectors[:, None] - made.vectors, axis=-1)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(made.distances, np.sort(apart, axis=1)[:, :3], atol=1e-4)
    assert made.nearest(0)[0] == ("net_6.pt", 0.0)
    assert made.nearest(7)[0][0] == "net_1.pt"


def test_moved_copies_are_duplicates_and_near_networks_are_not(made):
    found = [(g.names, g.equal) for g in made.duplicates]
    assert found == [(("net_0.pt", "net_6.pt"), True), (("net_2.pt", "net_5.pt"), False)]
    assert made.symmetries == ("permutation", "sign")


def test_signs_are_no_symmetry_of_an_unknown_activation(made):
    plain = embed(made.folder.path)
    assert plain.symmetries == ("permutation",)
    assert [g.names for g in plain.duplicates] == [("net_0.pt", "net_6.pt")]


def test_the_plane_of_pca_keeps_the_most_variance(made):
    centred = made.vectors - made.vectors.mean(0)
    values = np.linalg.eigvalsh(centred @ centred.T)[::-1]
    np.testing.assert_allclose((made.plane**2).sum(0), values[:2], rtol=1e-4)
    assert made.axes[0] == f"component 1 ({100 * values[0] / values.sum():.0f} % of the variance)"
    np.testing.assert_array_equal(made.plane, embed(made.folder).plane)


def test_tsne_puts_copies_together(made):
    points = embed(made.folder, plane="tsne")
    assert points.axes == ("t-SNE 1", "t-SNE 2")
    apart = np.linalg.norm(points.plane[:, None] - points.plane, axis=-1)
    assert apart[0, 6] < np.median(apart)
    few = read_folder(made.folder.path, config=TANH)
    three = few.zoo.select(np.arange(3))
    with pytest.raises(ValueError, match="t-SNE: expected at least 4 networks, got 3"):
        maps._tsne(np.zeros((len(three), 2)), 0)


def test_one_network_has_a_place_and_no_neighbour(tmp_path):
    weight_folders.write(tmp_path / "a.pt", weight_folders.mlp(0))
    alone = embed(tmp_path)
    assert alone.neighbours.shape == (1, 0)
    assert alone.plane.tolist() == [[0, 0]]
    assert not alone.vectors.any()


@pytest.mark.trains
def test_a_trained_encoder_gives_the_vectors(made, tmp_path):
    trained = small.fit(
        small.ratio_zoo(32), Regression("ratio"), tmp_path / "run", "stat_nn",
        small.STAT_NN, steps=2,
    )  # fmt: skip
    folder = weight_folders.folder(tmp_path / "nets", 4)
    weight_folders.write(tmp_path / "nets/net_3.pt", weight_folders.mlp(9))
    read = read_folder(folder, config=TANH)
    with pytest.raises(ValueError, match="supports only the architecture it was trained on"):
        embed(read, trained)
    names = ("0", "1", "2", "3")
    zoo = small.ratio_zoo(32).select(np.arange(4))
    own = maps.Folder("x", zoo, names, np.zeros(4, bool), None, (), 0, (), "", ("MLP",))
    for encoder in (trained, tmp_path / "run"):
        result = embed(own, encoder)
        np.testing.assert_allclose(result.vectors, trained.encode(zoo), rtol=1e-5)
        assert result.columns == ("e0", "e1", "e2", "e3")


def test_several_architectures_of_as_many_arrays(tmp_path):
    for i in range(4):
        weight_folders.write(tmp_path / f"{i}.pt", weight_folders.mlp(i, (2, 4 + i // 2, 1)))
    both = embed(read_folder(tmp_path, mixed=True))
    assert both.vectors.shape == (4, 28)
    assert both.columns[0] == "0.mean"
    weight_folders.write(tmp_path / "5.pt", weight_folders.mlp(5))
    with pytest.raises(ValueError, match="expected as many arrays in all networks, got 4 and 6"):
        embed(read_folder(tmp_path, mixed=True))


def test_arguments_are_checked_first(tmp_path):
    for wrong in ({"plane": "umap"}, {"neighbours": 0}):
        with pytest.raises(ValueError, match="expected a plane of"):
            embed(tmp_path, **wrong)
    with pytest.raises(FileNotFoundError):
        embed(tmp_path, tmp_path / "no model")


def test_a_csv_has_a_row_for_each_network(made, tmp_path):
    made.save(tmp_path / "vectors.csv")
    rows = list(csv.reader((tmp_path / "vectors.csv").read_text().splitlines()))
    assert rows[0] == ["file", *made.columns]
    assert [row[0] for row in rows[1:]] == list(made.folder.names)
    numbers = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(numbers, made.vectors, rtol=1e-6)


def test_an_npz_has_all_arrays(made, tmp_path):
    made.save(tmp_path / "vectors.npz")
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as file:
        assert file["names"].tolist() == list(made.folder.names)
        for name in ("vectors", "plane", "neighbours", "distances"):
            np.testing.assert_array_equal(file[name], getattr(made, name))
    with pytest.raises(ValueError, match=r"vectors.txt: expected a file of .csv or .npz"):
        made.save(tmp_path / "vectors.txt")


def test_pictures_are_png(made):
    values = np.arange(8.0)
    values[3] = np.nan
    plain, coloured = picture(made), picture(made, values, "accuracy $x$")
    for data in (plain, coloured):
        assert data.startswith(b"\x89PNG\r\n")
        assert struct.unpack(">II", data[16:24]) == (840, 660)
    assert plain != coloured
    assert picture(made) == plain
