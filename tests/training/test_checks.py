"""What is refused before a training begins."""

import pytest
from tests.helpers import assert_says, made_up_table

import siamese
from siamese.training.checks import check_run


class Sizeless(siamese.Backbone):
    """Does not say how long its embeddings are."""


def test_an_embedding_of_unknown_length_is_refused_and_can_be_told():
    network = Sizeless()
    module = siamese.SiameseModule(network, siamese.ContrastiveLoss())
    data = siamese.ImageDataModule(made_up_table([3] * 12), "none")
    with pytest.raises(siamese.ConfigError) as error:
        check_run(module, data, 1, "last", "eer")
    assert_says(error.value, "Sizeless has no embedding_size", "network.embedding_size = D")
    network.embedding_size = 4
    with pytest.raises(siamese.ConfigError) as error:
        check_run(module, data, 1, "last", "eer")
    assert "embedding_size" not in str(error.value)
