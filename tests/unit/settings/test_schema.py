from __future__ import annotations

from collections.abc import Callable

import pydantic
import pytest

from mlpipe.settings import Settings
from mlpipe.settings.schema import SECTION_MODELS, SECTION_NAMES, Data, Experiment, Training

NAME_RULE = "letters, digits, '.', '_' and '-', first a letter or a digit, at most 63 characters, no '..'"


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("EXPERIMENT", "EXPERIMENT_NAME", "A-1.b_c", "A-1.b_c"),
        ("EXPERIMENT", "EXPERIMENT_NAME", "x" * 63, "x" * 63),
        ("EXPERIMENT", "MODEL_NAMES", "a,\n  b.c", ("a", "b.c")),
        ("EXPERIMENT", "USER_FUNCTIONS", "../shared code/my_functions.py", "../shared code/my_functions.py"),
        ("EXPERIMENT", "USER_FUNCTIONS", "/opt/functions/", "/opt/functions/"),
        ("EXPERIMENT", "STORAGE", "~/my runs", "~/my runs"),
        ("EXPERIMENT", "RUN_NUM", "Auto", None),
        ("EXPERIMENT", "RUN_NUM", "7", 7),
        ("EXPERIMENT", "SEED", "2147483647", 2147483647),
        ("EXPERIMENT", "SEED", "1", 1),
        ("DATA", "TEST_FRACTION", "0.5", 0.5),
        ("DATA", "VALIDATION_FRACTION", "1e-9", 1e-9),
        ("DATA", "GROUP_KEY", "", None),
        ("DATA", "GROUP_KEY", "der Autor", "der Autor"),
        ("DATA", "SOURCES", "", ()),
        ("DATA", "SOURCES", "a.csv, data/b c.csv", ("a.csv", "data/b c.csv")),
        ("TRAINING", "METRICS", "recall, f1", ("recall", "f1")),
        ("TRAINING", "USE_DISTRIBUTED", "Yes", True),
        ("TRAINING", "USE_DISTRIBUTED", "off", False),
        ("TRAINING", "PROCESSES", "auto", None),
        ("TRAINING", "PROCESSES", "1", 1),
        ("TRAINING", "METRICS", "f1, log_loss, mcc", ("f1", "log_loss", "mcc")),
        ("TRAINING", "METRICS", "f1, hub:f1, hub:a-b/c.d", ("f1", "hub:f1", "hub:a-b/c.d")),
        ("TUNING", "OBJECTIVE_TYPE", "Minimize", "Minimize"),
        ("TRACKING", "PROJECT", "", None),
        ("TRACKING", "PROJECT", "my-project", "my-project"),
        ("TRACKING", "URI", "https://mlflow.example.org:5000/a", "https://mlflow.example.org:5000/a"),
        ("TRAINING", "MAX_BATCH_PER_DEVICE", "100000", 100000),
        ("TRAINING", "MIXED_PRECISION", "bf16", "bf16"),
        ("TRAINING", "THREADS", "auto", None),
        ("TRAINING", "THREADS", "1", 1),
        ("TRAINING", "EARLY_STOPPING_PATIENCE", "0", 0),
        ("TRAINING", "CLASS_WEIGHTS", "balanced", "balanced"),
        ("INFERENCE", "TOKEN_BUDGET", "1", 1),
        ("INFERENCE", "BOOTSTRAP_RESAMPLES", "100", 100),
        ("LOCAL", "MAX_RUNTIME", "60", 60),
        ("EXPERIMENT", "STORAGE", "s3://my-bucket.of/teams/nlp_1/x=1/", "s3://my-bucket.of/teams/nlp_1/x=1"),
        ("EXPERIMENT", "STORAGE", "s3://bucket", "s3://bucket"),
        ("S3", "REGION", "us-gov-west-1", "us-gov-west-1"),
        ("S3", "REGION", "", None),
        ("S3", "KMS_KEY_ID", "alias/mlpipe", "alias/mlpipe"),
        (
            "S3",
            "KMS_KEY_ID",
            "arn:aws:kms:us-east-1:123456789012:key/12ab-34",
            "arn:aws:kms:us-east-1:123456789012:key/12ab-34",
        ),
        ("S3", "EXPECTED_BUCKET_OWNER", "012345678901", "012345678901"),
    ],
)
def test_values_that_a_key_may_have(
    load: Callable[..., Settings], section: str, key: str, text: str, value: object
) -> None:
    below = "MODEL_NAMES = a" if key != "MODEL_NAMES" else ""
    name = "EXPERIMENT_NAME = demo" if key != "EXPERIMENT_NAME" else ""
    settings = load(f"[EXPERIMENT]\n{name}\n{below}\n\n", f"{section}.{key}={text}", above="")
    assert getattr(getattr(settings, section.lower()), key.lower()) == value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("EPOCHS", "10000", 10000),
        ("BATCH_SIZE", "1", 1),
        ("LEARNING_RATE", "10", 10.0),
        ("LEARNING_RATE", "2e-4", 2e-4),
        ("WEIGHT_DECAY", "0", 0.0),
        ("WARMUP_RATIO", "1", 1.0),
        ("MAX_GRAD_NORM", "0", 0.0),
        ("SCHEDULE", "cosine", "cosine"),
        ("LABEL_SMOOTHING", "0.1", 0.1),
        ("FOCAL_GAMMA", "2", 2.0),
        ("FREEZE", "bert.embeddings.*, *.layer.[0-3].*", ("bert.embeddings.*", "*.layer.[0-3].*")),
        ("FREEZE", "", ()),
        ("LAYER_LR_DECAY", "1", 1.0),
        ("EMA_DECAY", "0.999", 0.999),
    ],
)
def test_values_that_a_hyperparameter_may_have(
    load: Callable[..., Settings], key: str, text: str, value: float
) -> None:
    settings = load(f"[HYPERPARAMETERS]\n{key} = {text}\n")
    found = getattr(settings.hyperparameters["convnet"], key.lower())
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("section", "key", "text", "reason"),
    [
        ("EXPERIMENT", "BACKEND", "kubernetes", "expected local or sagemaker"),
        *(
            ("EXPERIMENT", "STORAGE", text, "expected a folder or s3://bucket/prefix, of letters, digits and")
            for text in (
                "s3://",
                "s3://b",
                "s3://Bucket",
                "s3://a..b/c",
                "s3://bucket//a",
                "s3://bucket/a//",
                "s3://bucket/../a",
                "s3://bucket/./a",
                "s3://bucket/a b",
                "s3://bucket/ä",
                "s3://bucket/a?versionId=1",
                "S3://bucket/a",
                "gs://bucket/a",
            )
        ),
        ("EXPERIMENT", "STORAGE", "", "expected the path of a local folder, or s3://bucket/prefix"),
        ("S3", "REGION", "Frankfurt", "expected the name of an AWS region, such as eu-central-1, or nothing"),
        ("S3", "KMS_KEY_ID", "my key", "expected the id, the alias (alias/...) or the ARN of a KMS key, or nothing"),
        ("S3", "EXPECTED_BUCKET_OWNER", "1234", "expected an account id of 12 digits, or nothing"),
        ("EXPERIMENT", "RUN_NUM", "0", "expected auto or a whole number from 1 to 999999999"),
        ("EXPERIMENT", "SEED", "0", "expected a whole number from 1 to 2147483647"),
        ("EXPERIMENT", "SEED", "2147483648", "expected a whole number from 1 to 2147483647"),
        ("EXPERIMENT", "SEED", "9" * 50, "expected a whole number from 1 to 2147483647"),
        ("DATA", "VALIDATION_FRACTION", "0", "expected a number above 0, at most 0.5"),
        ("DATA", "TEST_FRACTION", "0.51", "expected a number above 0, at most 0.5"),
        ("DATA", "TEST_FRACTION", "20%", "expected a number above 0, at most 0.5"),
        (
            "DATA",
            "SOURCES",
            "a.csv,,b.csv",
            "an entry of the list is empty: expected values with one comma between two",
        ),
        (
            "TRAINING",
            "OBJECTIVE_METRIC_NAME",
            "F1",
            "expected one of METRICS: f1, accuracy, precision, recall, f1_micro,",
        ),
        ("TRAINING", "METRICS", "f1, auc", "expected one or more of f1, accuracy, precision, recall, f1_micro,"),
        ("TRAINING", "USE_DISTRIBUTED", "maybe", "expected yes or no"),
        ("TRAINING", "USE_DISTRIBUTED", "", "expected yes or no"),
        ("TRAINING", "PROCESSES", "2", "PROCESSES = 2 needs USE_DISTRIBUTED = yes"),
        ("LOCAL", "MAX_PARALLEL_JOBS", "0", "expected a whole number from 1 to 64"),
        ("TRAINING", "METRICS", "hub:", "expected one or more of f1, accuracy, precision, recall, f1_micro,"),
        ("TRAINING", "METRICS", "hub:a/b/c", "expected one or more of f1, accuracy, precision, recall, f1_micro,"),
        ("TRAINING", "METRICS", "hub:../f1", "expected one or more of f1, accuracy, precision, recall, f1_micro,"),
        ("TRAINING", "METRICS", "f1, f1", "f1 is named twice"),
        ("TRAINING", "METRICS", "", "expected at least one metric"),
        ("TRAINING", "MAX_BATCH_PER_DEVICE", "0", "expected a whole number from 1 to 100000"),
        ("TRAINING", "MIXED_PRECISION", "yes", "expected no, bf16 or fp16"),
        ("TRACKING", "TRACKER", "Wandb", "expected none, wandb, tensorboard or mlflow"),
        ("TRACKING", "ENTITY", "a/b", "a/b is no name"),
        ("TRACKING", "URI", "mlruns", "expected an address that begins with http:// or https://"),
        ("TRACKING", "URI", "https://me:word@host", "an address with credentials in it is refused"),
        ("TRACKING", "URI", "https://host?token=a", "an address with credentials in it is refused"),
        ("TRAINING", "THREADS", "0", "expected auto or a whole number from 1 to 1024"),
        ("TRAINING", "THREADS", "all", "expected auto or a whole number from 1 to 1024"),
        ("TRAINING", "EARLY_STOPPING_PATIENCE", "-1", "expected a whole number from 0 to 10000"),
        ("TRAINING", "CLASS_WEIGHTS", "true", "expected none or balanced"),
        ("HYPERPARAMETERS", "EPOCHS", "0", "expected a whole number from 1 to 10000"),
        ("HYPERPARAMETERS", "EPOCHS", "3.0", "expected a whole number from 1 to 10000"),
        ("HYPERPARAMETERS", "EPOCHS", "1_0", "expected a whole number from 1 to 10000"),
        ("HYPERPARAMETERS", "EPOCHS", "", "expected a whole number from 1 to 10000"),
        ("HYPERPARAMETERS", "EPOCHS", "three", "expected a whole number from 1 to 10000"),
        ("HYPERPARAMETERS", "BATCH_SIZE", "100001", "expected a whole number from 1 to 100000"),
        ("HYPERPARAMETERS", "LEARNING_RATE", "0", "expected a number above 0, at most 10"),
        ("HYPERPARAMETERS", "LEARNING_RATE", "nan", "expected a number above 0, at most 10"),
        ("HYPERPARAMETERS", "LEARNING_RATE", "1e-4 -> 1e-5", "the interval is empty or reversed: write 1e-5 -> 1e-4"),
        ("HYPERPARAMETERS", "BATCH_SIZE", "16, 0", "0: expected a whole number from 1 to 100000"),
        ("HYPERPARAMETERS", "WEIGHT_DECAY", "10.1", "expected a number from 0 to 10"),
        ("HYPERPARAMETERS", "WARMUP_RATIO", "1.1", "expected a number from 0 to 1"),
        ("HYPERPARAMETERS", "MAX_GRAD_NORM", "inf", "expected a number of at least 0"),
        ("HYPERPARAMETERS", "MAX_GRAD_NORM", "1e999", "expected a number of at least 0"),
        ("HYPERPARAMETERS", "MAX_GRAD_NORM", "-0.1", "expected a number of at least 0"),
        ("HYPERPARAMETERS", "SCHEDULE", "polynomial", "expected linear, cosine or constant"),
        ("HYPERPARAMETERS", "LABEL_SMOOTHING", "1", "expected a number from 0, below 1"),
        ("HYPERPARAMETERS", "LABEL_SMOOTHING", "0 -> 0.1 log", "a logarithmic interval has to begin above 0"),
        ("HYPERPARAMETERS", "FOCAL_GAMMA", "-1", "expected a number from 0 to 10"),
        ("HYPERPARAMETERS", "FREEZE", "a.*,, b.*", "an entry of the list is empty"),
        ("HYPERPARAMETERS", "LAYER_LR_DECAY", "0", "expected a number above 0, at most 1"),
        ("HYPERPARAMETERS", "EMA_DECAY", "1", "expected a number from 0, below 1"),
        ("USER_HYPERPARAMETERS", "WIDTH", "64,", "an entry of the list is empty"),
        ("TUNING", "OBJECTIVE_TYPE", "minimise", "expected auto, Maximize or Minimize"),
        ("INFERENCE", "TOKEN_BUDGET", "0", "expected a whole number from 1 to 10000000"),
        ("INFERENCE", "BOOTSTRAP_RESAMPLES", "99", "expected a whole number from 100 to 1000000"),
        ("LOCAL", "MAX_RUNTIME", "0", "expected a whole number from 1 to 31536000"),
    ],
)
def test_values_that_a_key_may_not_have(
    problems: Callable[..., list[str]], section: str, key: str, text: str, reason: str
) -> None:
    found = problems("", f"{section}.{key}={text}")
    assert len(found) == 1
    assert found[0].startswith(f"--set {section}.{key} = {text}: {reason}")


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", "a..b", ".a", "-a", "a b", "ä", "x" * 64, "a$", "a:b", "a\\b", "\u202ea"]
)
def test_a_name_that_could_leave_its_folder_is_refused(problems: Callable[..., list[str]], name: str) -> None:
    found = problems("MODEL_NAMES = a\n", f"experiment.experiment_name={name}", above="[EXPERIMENT]\n")
    assert len(found) == 1
    assert found[0].endswith(f"is no name: expected {NAME_RULE}")


@pytest.mark.parametrize("name", ["a\n", "a\nb", "a\0"])
def test_a_name_ends_where_its_letters_end(name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="is no name"):
        Experiment(experiment_name=name, model_names=("a",))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("", "expected 1 to 100 names"),
        ("a, b/c", f"b/c is no name: expected {NAME_RULE}"),
        ("a, ", "an entry of the list is empty: expected values with one comma between two of them"),
        ("MiniLM, b, minilm", "minilm is named twice (upper and lower case count as the same)"),
        (",".join(f"m{n}" for n in range(101)), "expected 1 to 100 names"),
    ],
)
def test_model_names_are_distinct_names(problems: Callable[..., list[str]], names: str, reason: str) -> None:
    found = problems("EXPERIMENT_NAME = demo\n", f"experiment.model_names={names}", above="[EXPERIMENT]\n")
    assert len(found) == 1
    assert found[0].endswith(f": {reason}")


@pytest.mark.parametrize("path", ["", ".", "..", "/", "my-functions", "2nd.py", "class", "s3://b/functions", "a.b"])
def test_user_functions_can_be_imported_by_their_name(problems: Callable[..., list[str]], path: str) -> None:
    assert len(problems(f"USER_FUNCTIONS = {path}\n")) == 1


def test_the_objective_is_one_of_the_metrics(problems: Callable[..., list[str]]) -> None:
    assert problems("[TRAINING]\nMETRICS = accuracy, recall\n") == [
        "settings.ini:5: [TRAINING] METRICS = accuracy, recall: "
        "OBJECTIVE_METRIC_NAME, which is f1, has to be one of METRICS"
    ]


def test_a_wrong_objective_is_not_also_called_a_contradiction(problems: Callable[..., list[str]]) -> None:
    assert problems("[TRAINING]\nOBJECTIVE_METRIC_NAME = acuracy\nMETRICS = accuracy\n") == [
        "settings.ini:5: [TRAINING] OBJECTIVE_METRIC_NAME = acuracy: expected one of METRICS: f1, accuracy, precision, "
        "recall, f1_micro, f1_weighted, precision_micro, precision_weighted, recall_micro, recall_weighted, mcc, "
        "log_loss or hub:<a name on the hub>"
    ]


def test_a_metric_that_is_overridden_contradicts_nothing(load: Callable[..., Settings]) -> None:
    content = "[TRAINING]\nMETRICS = accuracy\nOBJECTIVE_METRIC_NAME = accuracy\n"
    training = load(content, "training.metrics=f1", "training.objective_metric_name=f1").training
    assert (training.metrics, training.objective_metric_name) == (("f1",), "f1")


@pytest.mark.parametrize(
    ("metric", "objective_type", "is_maximized"),
    [
        ("f1", "auto", True),
        ("hub:f1", "auto", True),
        ("log_loss", "auto", False),
        ("log_loss", "Maximize", True),
        ("hub:a/loss", "Minimize", False),
    ],
)
def test_the_type_of_the_objective_follows_from_the_metric_unless_it_is_said(
    load: Callable[..., Settings], metric: str, objective_type: str, is_maximized: bool
) -> None:
    content = f"[TRAINING]\nMETRICS = f1, {metric}\n" if metric != "f1" else "[TRAINING]\n"
    settings = load(f"{content}OBJECTIVE_METRIC_NAME = {metric}\n[TUNING]\nOBJECTIVE_TYPE = {objective_type}\n")
    assert settings.maximizes_objective is is_maximized


def test_some_rows_are_left_to_train_on(problems: Callable[..., list[str]]) -> None:
    assert problems("[DATA]\nTEST_FRACTION = 0.5\nVALIDATION_FRACTION = 0.5\n") == [
        "settings.ini:6: [DATA] VALIDATION_FRACTION = 0.5: "
        "VALIDATION_FRACTION and TEST_FRACTION leave no rows to train on"
    ]


def test_patterns_are_short_enough_for_a_service(problems: Callable[..., list[str]]) -> None:
    found = problems("", f"hyperparameters.freeze={'a' * 127}, {'b' * 128}")
    assert len(found) == 1
    assert found[0].endswith(": expected at most 256 characters")


def test_sections_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Training().metrics = ()


def test_every_key_says_what_it_means() -> None:
    fields = [field for section in SECTION_MODELS.values() for field in section.model_fields.values()]
    assert all(field.description and field.description.endswith(".") for field in fields)


def test_a_key_belongs_to_one_section_unless_it_limits_the_jobs_of_several_places() -> None:
    keys = [key for section in SECTION_MODELS.values() for key in section.model_fields]
    assert {key for key in keys if keys.count(key) > 1} == {"max_parallel_jobs", "max_runtime", "seed"}


def test_sections_are_named_after_their_models() -> None:
    assert set(SECTION_MODELS) < set(SECTION_NAMES)
    assert all(section.__name__.upper() == name for name, section in SECTION_MODELS.items())


def test_defaults_are_valid() -> None:
    for section in SECTION_MODELS.values():
        defaults = {key: f.default for key, f in section.model_fields.items() if not f.is_required()}
        required = {"experiment_name": "a", "model_names": ("a",)} if section.__name__ == "Experiment" else {}
        assert section.model_validate(defaults | required) == section.model_validate(required)


def test_data_settings_from_python_values_are_checked_too() -> None:
    with pytest.raises(pydantic.ValidationError, match="leave no rows"):
        Data(test_fraction=0.5, validation_fraction=0.5)
