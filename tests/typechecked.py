"""What checks types and shapes in our signatures while testing."""

from beartype import BeartypeConf, beartype

# As type checkers have it: an int is welcome where a float is asked for.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
