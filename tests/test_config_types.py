"""Configurations with a value of a wrong type are refused by the name of the field, before anything starts."""

from dataclasses import replace

import pytest

from data_pipelines.sources import make_source
from hmr_jax import cli
from hmr_jax.config import Config, DataConfig, DatasetConfig
from hmr_jax.config.checks import check_types

START = "from hmr_jax.config import Config, DataConfig, DatasetConfig\n\n\ndef get_config():\n    return "
SET = 'DatasetConfig("a")'
WRONG = {
    f"Config(data=DataConfig(datasets=({SET})))": r"data\.datasets must be a tuple, not DatasetConfig.*comma",
    'Config(data=DataConfig(datasets=("a")))': r"data\.datasets must be a tuple, not 'a'.*comma",
    'Config(data=DataConfig(datasets=("a",)))': r"data\.datasets\[0\] must be a DatasetConfig, not 'a'",
    'Config(data=DataConfig(evaluation=DatasetConfig("a")))': r"data\.evaluation must be a tuple",
    'Config(data=DataConfig(dense=("mask")))': r"data\.dense must be a tuple, not 'mask'",
    'Config(data=DataConfig(dense=("masks",)))': r"data\.dense\[0\] must be one of .*, not 'masks'",
    f"Config(data=DataConfig(datasets=({SET} ({SET}))))": r"line 5, cannot be run: 'DatasetConfig'",
    f"Config(data=DataConfig(datasets=({SET} {SET})))": r"line 5, cannot be run: invalid syntax",
    "Config(data=DataConfig(dataset=()))": r"line 5, cannot be run: .*unexpected keyword argument 'dataset'",
    'Config(steps="100")': r"steps must be a number, not '100'",
    "Config(name=3)": "name must be text, not 3",
    'Config(data="three_dpw")': "data must be a DataConfig, not 'three_dpw'",
    "3": r"defines no get_config\(\) that returns",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("text", WRONG)
def test_a_file_with_a_wrong_value_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(START + text + "\n")
    with pytest.raises(ValueError, match=WRONG[text]) as error:
        cli.load_config(path)
    assert "\n" not in str(error.value)


def test_every_configuration_that_comes_along_has_the_types_of_its_fields():
    for path in sorted(cli.SHIPPED.glob("[a-z]*.py")):
        cli.load_config(path)
    check_types(Config())


@pytest.mark.parametrize("datasets", ["three_dpw", DatasetConfig("three_dpw"), ("three_dpw",), None])
def test_a_source_refuses_what_is_no_mixture(datasets, tmp_path):
    data = replace(DataConfig(), source="records", directory=str(tmp_path), datasets=datasets)
    with pytest.raises(ValueError, match=r"data\.datasets"):
        make_source(Config(data=data), "train", topology="smpl", process_index=0, process_count=1)
