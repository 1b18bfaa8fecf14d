//! What a long run tells people: rates, failures, coverage.
