from __future__ import annotations

import click
import pytest

from streamflow.cli.target import load

TWO = 'one = sf.Pipeline("one")\ntwo = sf.Pipeline("two")\nalias = one\nnumber = 3\n'
FACTORY = """
    class Jobs:
        @staticmethod
        def build(name, suffix=""):
            return sf.Pipeline(name + suffix)
"""


pytestmark = pytest.mark.usefixtures("invoke")  # for the folder, and for what it undoes


def test_a_file_names_its_only_pipeline_however_often_it_is_bound(program) -> None:
    path = program('first = sf.Pipeline("only")\nsecond = first\n')
    assert load(str(path)).name == "only"


def test_an_attribute_chooses_among_several(program) -> None:
    assert load(f"{program(TWO)}:two").name == "two"


def test_a_call_with_literals_makes_one(program) -> None:
    assert load(f"{program(FACTORY)}:Jobs.build('shop', suffix='-eu')").name == "shop-eu"


def test_a_module_is_found_from_the_current_folder(program) -> None:
    program('pipeline = sf.Pipeline("packed")\n', "packed_job.py")
    assert load("packed_job").name == "packed"


def test_a_program_finds_the_modules_beside_it(program) -> None:
    program('NAME = "beside"\n', "packed_names.py")
    assert load(str(program("from packed_names import NAME\npipeline = sf.Pipeline(NAME)\n"))).name == "beside"


def test_a_program_may_be_called_like_a_module_that_is_loaded(program) -> None:
    path = program('pipeline = sf.Pipeline("not-json")\n', "json.py")
    assert load(str(path)).name == "not-json"
    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nothing.py", "there is no file nothing.py"),
        ("job.py", "several pipelines; say job.py:alias or job.py:two"),
        ("job.py:three", "there is no 'three' in job"),
        ("job.py:number", "job.py:number is an int, and a Pipeline is wanted"),
        ("job.py:number()", "number is an int and cannot be called"),
        ("job.py:one.name", "job.py:one.name is a str, and a Pipeline is wanted"),
        ("job.py:print(open('x'))", "a call with literal arguments"),
        ("job.py:one +", "a call with literal arguments"),
        ("no_such_module", "there is no module 'no_such_module'"),
        ("no/such/module", "a file that ends in .py or the name of a module"),
    ],
)
def test_a_target_that_names_no_pipeline_is_refused_with_what_would_do(program, target: str, says: str) -> None:
    program(TWO)
    with pytest.raises(click.UsageError) as refused:
        load(target)
    assert says in str(refused.value)


def test_a_module_without_a_pipeline_is_refused(program) -> None:
    with pytest.raises(click.UsageError, match="has no Pipeline at its top"):
        load(str(program("number = 3\n")))


def test_a_module_that_the_program_lacks_is_the_programs_own_error(program) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load(str(program("import no_such_dependency\n")))
    program("import no_such_dependency\n", "packed_job.py")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load("packed_job")
