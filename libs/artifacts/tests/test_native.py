import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.native import dump_sklearn, load_sklearn


def fitted(kind):
    random = np.random.default_rng(5)
    rows = random.normal(size=(80, 3))
    if kind == "linear":
        steps = make_pipeline(SimpleImputer(), StandardScaler(), Ridge())
        return steps.fit(rows, rows[:, 0]), rows
    forest = RandomForestClassifier(3, random_state=1)
    return make_pipeline(SimpleImputer(), forest).fit(rows, rows[:, 0] > 0), rows


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_a_model_is_opened_as_it_was_kept(kind):
    model, rows = fitted(kind)
    again = load_sklearn(dump_sklearn(model))
    assert np.array_equal(again.predict(rows), model.predict(rows))


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_equal_models_are_equal_bytes(kind):
    assert dump_sklearn(fitted(kind)[0]) == dump_sklearn(fitted(kind)[0])


def test_a_type_that_is_not_on_the_list_is_refused():
    content = skops.io.dumps(FunctionTransformer(func=np.save))
    untrusted = skops.io.get_untrusted_types(data=content)
    if not untrusted:
        content = content.replace(b"numpy", b"nvmpy")
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(content)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK"])
def test_what_is_no_skops_file_is_refused(content):
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(content)


def test_a_zip_without_a_schema_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(target.getvalue())
