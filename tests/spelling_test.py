from cl_keras.spelling import closest, did_you_mean


def test_the_closest_names_are_offered():
    assert did_you_mean("moca", ["moco", "swav"]) == " Did you mean 'moco'?"
    assert did_you_mean("resnet", ["resnet50", "resnet18", "vit"], most=2) in (
        " Did you mean 'resnet50' or 'resnet18'?",
        " Did you mean 'resnet18' or 'resnet50'?",
    )
    assert did_you_mean("xyz", ["moco", "swav"]) == ""
    assert closest("swaw", ("moco", "swav")) == ["swav"]
