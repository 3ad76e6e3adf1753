from pgcast.model.configuration import Configuration
from pgcast.model.served import ServedTopics


def test_without_anything_said_there_are_no_webhooks_and_everything_is_served():
    assert Configuration() == Configuration((), ServedTopics(None))
