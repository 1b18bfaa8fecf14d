//! The scenarios that broke other tools of this kind, each a story with the name that it is known by. Re-ordered and duplicated notices
//! cannot be provoked between real processes; they are a scenario of the engine's own tests.

mod clocks;
mod many;
mod meeting;
mod names;
mod roots;
mod saving;
mod transfer;
