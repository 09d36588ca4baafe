"""The kinds of suites, a module each: its class is named KIND, and its name is the module's."""
