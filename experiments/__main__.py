"""Lists every experiment with the table it reproduces and what its presets cost."""

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
    inr_ablation,
    inr_classification,
    inr_editing,
    inr_frequency,
    inr_self_supervised,
)

EXPERIMENTS = {
    "inr_frequency": ("SNE, table 1: frequencies of INRs", inr_frequency.PRESETS),
    "inr_ablation": ("SNE, tables 6 and 7, figure 3, appendix E.3", inr_ablation.PRESETS),
    "inr_self_supervised": (
        "GMN, table 3: codes learned without labels",
        inr_self_supervised.PRESETS,
    ),
    "inr_classification": (
        "ScaleGMN, table 1: classes of images, by the weights of their INRs",
        inr_classification.PRESETS,
    ),
    "inr_editing": ("GMN, table 2: INRs whose images are edited", inr_editing.PRESETS),
    "cross_dataset": ("SNE, tables 5 and 8: judges of classifiers", cross_dataset.PRESETS),
    "cross_architecture": ("SNE, tables 2, 3, 4 and 9: the same", cross_architecture.PRESETS),
    "accuracy_prediction": (
        "GMN, tables 1 and 6, figures 5 and 8: classifiers of many architectures",
        accuracy_prediction.PRESETS,
    ),
    "generalization": ("ScaleGMN: classifiers of ReLU, of tanh, of both", generalization.PRESETS),
    "embeddings": ("SNE, figure 2: t-SNE of codes, and how far they tell zoos", embeddings.PRESETS),
}
TOOLS = {
    "classifier_zoo": "zoos of image classifiers; how fast they are made",
    "inr_zoo": "zoos of image INRs by two published recipes; how fast they are made",
    "sine_zoo": "the sine zoo against the published recipe; how fast it is made",
    "benchmarks": "milliseconds and memory of a training step of SNE",
    "graph_benchmarks": "message passing by three routes and in PyTorch; graphs of large networks",
    "scalegmn_benchmarks": "a training step of ScaleGMN, sliced and masked",
    "rival_benchmarks": "a training step of every encoder; NFN and StatNN beside PyTorch",
    "interpolation": "the loss between two classifiers, before and after weight matching",
    "audits": "which symmetries every encoder respects, in float32 and float64",
    "records": "renders the README's tables from the records",
}


def main() -> None:
    """Prints the list."""
    for name, (table, presets) in EXPERIMENTS.items():
        print(f"python -m experiments.{name}\n    {table}")
        for preset, settings in presets.items():
            print(f"    --preset {preset:8} {settings.cost}; rows {', '.join(settings.rows)}")
    for name, words in TOOLS.items():
        print(f"python -m experiments.{name}\n    {words}")


if __name__ == "__main__":
    main()
