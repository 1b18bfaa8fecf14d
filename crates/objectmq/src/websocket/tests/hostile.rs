//! What a session does with input that nobody should send.
