//! Rules that a schema can't say: CEL expressions and their messages.
