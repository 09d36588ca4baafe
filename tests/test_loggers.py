"""What pytest does before each test, beside threads that load modules."""

import logging


def test_a_logger_that_a_thread_makes_does_not_fail_the_test_that_begins():
    for number, _ in enumerate(logging.root.manager.loggerDict.values()):
        logging.getLogger(f"tests.loggers.{number}")
