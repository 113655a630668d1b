"""Recurrent networks, against PyTorch's own modules."""

import functools

import numpy as np
import pytest
from cases import recognised
from cases.recognised import filled

from wsjax import recognize
from wsjax.recognition import names, recurrent
from wsjax.symmetries import permutations

torch = pytest.importorskip("torch")
nn = torch.nn
assert_recognised = functools.partial(recognised.assert_recognised, tolerance=1e-6)
X = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 7, 3)))
WORDS = torch.tensor([[3, 1, 4, 1, 5]])


class Tagger(nn.Module):
    """Words to classes."""

    def __init__(self, kind, layers, both, **settings):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.rnn = kind(3, 4, layers, bidirectional=both, batch_first=True, **settings)
        self.head = nn.Linear(8 if both else 4, 2)

    def forward(self, words):
        return self.head(self.rnn(self.embedding(words))[0])


def case(kind, layers=1, both=False, **settings):
    net = Tagger(kind, layers, both, **settings).double().eval()
    state = filled({k: tuple(v.shape) for k, v in net.state_dict().items()})

    def run(state):
        t = {k: torch.from_numpy(np.asarray(v, np.float64)) for k, v in state.items()}
        with torch.no_grad():
            return torch.func.functional_call(net, t, (WORDS,)).numpy()

    return state, run


def test_gates_of_an_lstm_are_four_parts_of_the_same_neurons():
    state, run = case(nn.LSTM)
    found = assert_recognised(state, run)
    assert str(found) == "exact: PyTorch LSTM, 2 hidden axes, group 10^2, coverage 100 %"
    arrays = {a.name: found.spec.shape(a) for a in found.spec.arrays}
    assert [arrays[f"rnn.weight_ih_l0/{gate}"] for gate in "ifgo"] == [(4, 3)] * 4
    (inner,) = [a for a in found.spec.arrays if a.name == "rnn.weight_hh_l0/i"]
    assert inner.axes == ("h0", "h0")
    assert found.wired


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_two_layers_in_both_directions(kind):
    state, run = case(kind, 2, True)
    found = assert_recognised(state, run)
    assert set(permutations.shapes(found.spec)) == {*("e", "h0", "h0_reverse", "h1", "h1_reverse")}


def test_what_the_output_may_be_is_not_permuted():
    state, _ = case(nn.LSTM)
    headless = {n: a for n, a in state.items() if not n.startswith("head")}
    found = recognize(headless)
    assert (found.level, found.spec.hidden) == ("opaque", ())
    assert any("may be the output" in note for note in found.notes)


def test_others_are_refused():
    shapes = {n: a.shape for n, a in case(nn.LSTM)[0].items()}
    assert recurrent.recurrent({"fc.weight": (2, 3)}, {}) is None
    two = shapes | {n.replace("rnn", "other"): s for n, s in shapes.items() if "rnn" in n}
    with pytest.raises(names.UnfitError, match="several"):
        recurrent.recurrent(two, {})
    with pytest.raises(names.UnfitError, match="no dense layer"):
        recurrent.recurrent(shapes | {"norm.weight": (4,)}, {})
    projected = {n: a.shape for n, a in case(nn.LSTM, proj_size=2)[0].items() if "head" not in n}
    with pytest.raises(names.UnfitError):
        recurrent.recurrent(projected | {"head.weight": (2, 2)}, {})


def test_the_activations_of_a_longer_head_come_from_the_config():
    state, _ = case(nn.GRU)
    state |= filled({"head2.weight": (3, 2), "head2.bias": (3,)})
    assert recognize(state).level == "chained"
    assert recognize(state, {"activation": "relu"}).level == "chained"
    found = recognize(state, {"activation": "relu", "chain": True})
    assert (found.level, found.family) == ("exact", "PyTorch GRU")
    assert found.spec.hidden == ("e", "h0", "d0")


class Attended(nn.Module):
    """The last state chooses among all states (Luong et al. 2015), by a dense layer."""

    def __init__(self, name):
        super().__init__()
        self.name, self.lstm = name, nn.LSTM(3, 4, 2, batch_first=True)
        self.add_module(name, nn.Linear(4, 4))
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        states, _ = self.lstm(x)
        scores = states @ self.get_submodule(self.name)(states[:, -1])[..., None]
        return self.fc((states * scores.softmax(1)).sum(1))


@pytest.mark.parametrize("name", ["attn", "w"])
@pytest.mark.parametrize("config", [{}, {"activation": "tanh"}])
def test_a_dense_layer_of_an_attention_is_no_head(name, config):
    net = Attended(name).double().eval()
    state = filled({k: tuple(v.shape) for k, v in net.state_dict().items()})

    def run(state):
        t = {k: torch.from_numpy(np.asarray(v, np.float64)) for k, v in state.items()}
        with torch.no_grad():
            return torch.func.functional_call(net, t, (X,)).numpy()

    if name == "attn":
        assert recognize(state, config).level == "opaque"
        return
    found = assert_recognised(state, run, config)
    assert (found.level, found.spec.hidden) == ("chained", ("h0",))
    with pytest.raises(AssertionError):
        assert_recognised(state, run, config | {"chain": True})


def test_an_output_that_may_be_the_table_of_embeddings_fixes_both():
    state, _ = case(nn.LSTM)
    tied = {n: a for n, a in state.items() if not n.startswith("head")}
    tied |= filled({"embedding.weight": (7, 4), "rnn.weight_ih_l0": (16, 4), "head.weight": (7, 4)})
    found = recognize(tied)
    assert found.spec.hidden == ()
    assert any("table of embeddings" in note for note in found.notes)
